import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from published_weights import box_shapes, fill, panoptic_shapes, resnet_shapes
from tiny_model import build, tiny_cfg

from detr_d2 import add_detr_config
from detr_d2.checkpoint import LoadingRules, WeightsError, load_weights, open_weights
from detr_d2.checkpoint.layouts import Weights
from detr_d2.engine import Checkpointer

CONFIGS = Path(__file__).parents[2] / "configs"


def published_cfg(arch, dataset):
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "Base-DETR.yaml"))
    cfg.MODEL.META_ARCHITECTURE = arch
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (dataset,)
    return cfg


def test_the_published_panoptic_checkpoint_loads_whole(tmp_path):
    theirs = fill(panoptic_shapes())
    torch.save({"model": theirs}, tmp_path / "detr-r50-panoptic.pth")
    cfg = published_cfg("PanopticDetr", "coco_2017_val_panoptic")
    model = build_model(cfg)
    weights = open_weights(str(tmp_path / "detr-r50-panoptic.pth"))
    report = load_weights(model, weights, cfg=cfg)

    assert report.names("re-initialised") == [] and report.names("unused") == []
    assert len(report.names("loaded")) == len(theirs) == len(model.state_dict())
    # Contiguous class 0 is person, COCO id 1; the last is rug-merged, 200; then "no object".
    rows = [1, *range(2, 12), 13]
    ours, all_rows = model.state_dict(), theirs["detr.class_embed.weight"]
    assert torch.equal(ours["box_head.class_embed.weight"][: len(rows)], all_rows[rows])
    assert torch.equal(ours["box_head.class_embed.weight"][-2:], all_rows[[200, 250]])
    assert torch.equal(ours["box_head.class_embed.bias"][-1], theirs["detr.class_embed.bias"][250])
    for mine, original in {
        "backbone.stem.conv1.norm.running_var": "detr.backbone.0.body.bn1.running_var",
        "backbone.res5.2.conv3.weight": "detr.backbone.0.body.layer4.2.conv3.weight",
        "backbone.res3.0.shortcut.norm.bias": "detr.backbone.0.body.layer2.0.downsample.1.bias",
        "mask_head.convs.4.weight": "mask_head.lay5.weight",
        "mask_head.adapters.2.bias": "mask_head.adapter3.bias",
        "transformer.decoder.layers.5.multihead_attn.in_proj_weight": (
            "detr.transformer.decoder.layers.5.multihead_attn.in_proj_weight"
        ),
    }.items():
        assert torch.equal(ours[mine], theirs[original]), mine
    table = report.table()
    assert f"(original DETR): {len(theirs)} loaded, 0 re-initialised, 0 unused" in table
    assert "133 of 133 classes by name" in table


def test_the_published_box_checkpoint_loads_into_both_models(tmp_path):
    torch.save({"model": fill(box_shapes())}, tmp_path / "x.pth")
    cfg = published_cfg("Detr", "coco_2017_val")
    report = load_weights(build_model(cfg), open_weights(str(tmp_path / "x.pth")), cfg=cfg)
    assert report.names("re-initialised") == [] and report.names("unused") == []
    cfg = published_cfg("PanopticDetr", "coco_2017_val_panoptic")
    report = load_weights(build_model(cfg), open_weights(str(tmp_path / "x.pth")), cfg=cfg)
    parts = {name.split(".")[0] for name in report.names("re-initialised")}
    assert parts == {"bbox_attention", "mask_head"} and report.names("unused") == []
    # Of 133 panoptic classes the detector knows the 80 things.
    assert "80 of 133 classes" in re.sub(r"\s*│\n[ │]*", " ", report.table())


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("INPUT.FORMAT", "BGR", "INPUT.FORMAT RGB"),
        ("MODEL.PIXEL_STD", [1.0, 1.0, 1.0], 'MODEL.PIXEL_STD "[58.395, 57.12, 57.375]"'),
        ("MODEL.PIXEL_MEAN", [103.53, 116.28, 123.675], "MODEL.PIXEL_MEAN"),
        ("MODEL.RESNETS.STRIDE_IN_1X1", True, "MODEL.RESNETS.STRIDE_IN_1X1 False"),
    ],
)
def test_other_colours_or_strides_are_refused_with_the_line_to_change(tmp_path, key, value, says):
    theirs = fill(resnet_shapes()) | {"fc.weight": torch.zeros(1000, 2048)}
    torch.save(theirs, tmp_path / "resnet50.pth")
    cfg = published_cfg("Detr", "coco_2017_val")
    cfg.merge_from_list([key, value])
    with pytest.raises(WeightsError, match=re.escape(says)):
        load_weights(torch.nn.Linear(1, 1), open_weights(str(tmp_path / "resnet50.pth")), cfg=cfg)


def backbone_cfg():
    cfg = tiny_cfg("Detr")
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 256
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 64
    return cfg


def detectron2_name(name):
    for i in (1, 2, 3):
        name = name.replace(f".bn{i}.", f".conv{i}.norm.")
    for i in (4, 3, 2, 1):
        name = name.replace(f"layer{i}.", f"res{i + 1}.")
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    return name if name.startswith("res") else f"stem.{name.replace('bn1', 'conv1.norm')}"


@pytest.mark.parametrize("kind", ["torchvision", "detectron2"])
def test_backbones_load_and_their_classifier_is_unused(tmp_path, kind):
    theirs = fill(resnet_shapes())
    path = tmp_path / "x"
    if kind == "torchvision":
        counters = {"bn1.num_batches_tracked": torch.tensor(3)}
        torch.save(theirs | counters | {"fc.weight": torch.zeros(1000, 2048)}, path)
    else:
        arrays = {detectron2_name(name): t.numpy() for name, t in theirs.items()}
        arrays["stem.fc.weight"] = np.zeros((1000, 2048), np.float32)
        content = {"model": arrays, "__author__": "torchvision", "matching_heuristics": True}
        path.write_bytes(pickle.dumps(content))
    model = build(backbone_cfg())
    report = load_weights(model, open_weights(str(path)))
    assert {name.split(".")[0] for name in report.names("loaded")} == {"backbone"}
    assert len(report.names("loaded")) == len(theirs) == len(model.backbone.state_dict())
    assert report.names("unused") in (["fc.weight"], ["stem.fc.weight"])
    block = model.backbone.res4[3].conv2
    assert torch.equal(block.weight, theirs["layer3.3.conv2.weight"])
    assert torch.equal(block.norm.running_mean, theirs["layer3.3.bn2.running_mean"])


def test_caffe2_backbones_compute_scale_and_bias_only(tmp_path):
    arrays = {
        "conv1_w": np.ones((64, 3, 7, 7), np.float32),
        "res_conv1_bn_s": np.full(64, 2, np.float32),
        "res_conv1_bn_b": np.full(64, 3, np.float32),
        "res2_0_branch2a_w": np.ones((64, 64, 1, 1), np.float32),
        "res2_0_branch1_bn_s": np.full(256, 4, np.float32),
    }
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(arrays))
    weights = open_weights(str(tmp_path / "R-50.pkl"))
    model = build(backbone_cfg()).eval()
    load_weights(model, weights)
    norm = model.backbone.stem.conv1.norm
    x = torch.randn(1, 64, 2, 2)
    torch.testing.assert_close(norm(x), 2 * x + 3)
    assert model.backbone.res2[0].shortcut.norm.weight[0] == 4
    with pytest.raises(WeightsError, match=r"INPUT\.FORMAT BGR"):
        load_weights(model, weights, cfg=published_cfg("Detr", "coco_2017_val"))


@pytest.fixture
def named(request):
    """Metadata of a data set of things with these names."""
    made = []

    def _named(*names):
        key = f"test_{request.node.name}_{len(made)}"
        ids = {i + 1: i for i in range(len(names))}
        MetadataCatalog.get(key).set(
            thing_classes=list(names), thing_dataset_id_to_contiguous_id=ids
        )
        made.append(key)
        cfg = tiny_cfg()
        cfg.MODEL.DETR.NUM_CLASSES = 0
        cfg.DATASETS.TRAIN = (key,)
        return cfg

    yield _named
    for key in made:
        MetadataCatalog.remove(key)


def test_fine_tuning_keeps_shared_classes_and_starts_others_afresh(tmp_path, named):
    old = build(named("pipe", "person", "crane"))
    Checkpointer(old, str(tmp_path)).save("model_final")
    cfg = named("worker", "brick", "crane", "pipe")
    new = build(cfg)
    before = new.box_head.class_embed.weight.clone()
    checkpointer = Checkpointer(new, cfg=cfg, rules=LoadingRules.from_config(cfg))
    checkpointer.resume_or_load(str(tmp_path / "model_final.pth"), resume=False)
    weight = new.box_head.class_embed.weight
    # Here worker, brick, crane, pipe, no object; there pipe, person, crane, no object.
    assert torch.equal(weight[[2, 3, 4]], old.box_head.class_embed.weight[[2, 0, 3]])
    assert torch.equal(weight[[0, 1]], before[[0, 1]])
    assert torch.equal(new.mask_head.convs[0].weight, old.mask_head.convs[0].weight)

    cfg.MODEL.DETR.LOAD.RENAMED_CLASSES = [("person", "worker")]
    report = load_weights(
        new, open_weights(str(tmp_path / "model_final.pth")), LoadingRules.from_config(cfg), cfg
    )
    assert torch.equal(weight[0], old.box_head.class_embed.weight[1])
    assert "fresh: brick" in " ".join(status.note for status in report.statuses)


def test_class_rows_and_box_head_by_config(tmp_path, named):
    cfg = named("pipe", "crane")
    old = build(cfg)
    torch.save({"model": old.state_dict(), "classes": ["pipe", "crane"]}, tmp_path / "x.pth")
    cfg.MODEL.DETR.LOAD.CLASS_ROWS, cfg.MODEL.DETR.LOAD.BOX_HEAD = "none", False
    new = build(cfg)
    new.box_head.class_embed.weight.data += 1
    new.box_head.bbox_embed.layers[0].weight.data += 1
    report = load_weights(new, open_weights(str(tmp_path / "x.pth")), LoadingRules.from_config(cfg))
    left = report.names("re-initialised")
    assert {name.split(".")[1] for name in left} == {"class_embed", "bbox_embed"} and len(left) == 8
    assert not torch.equal(new.box_head.class_embed.weight, old.box_head.class_embed.weight)
    cfg.MODEL.DETR.LOAD.CLASS_ROWS = "some"
    with pytest.raises(ValueError, match=r"'some'; allowed.*in_order"):
        LoadingRules.from_config(cfg)


@pytest.mark.parametrize(("count", "how"), [(4, "cut to the first 4"), (10, "repeated to fill 10")])
def test_another_number_of_queries_is_cut_or_repeated(count, how):
    cfg = tiny_cfg("Detr")
    old = build(cfg)
    cfg.MODEL.DETR.NUM_QUERIES = count
    new = build(cfg)
    report = load_weights(new, Weights("x", "detr_d2", old.state_dict()))
    expected = torch.cat([old.query_embed.weight] * 2)[:count]
    assert torch.equal(new.query_embed.weight, expected)
    assert f"7 queries, {how}" in [status.note for status in report.statuses]


def test_settings_that_a_training_may_change_are_warned_of(caplog):
    cfg = tiny_cfg("Detr")
    settings = {"MODEL.DETR.POSITION_TEMPERATURE": 20.0, "MODEL.PIXEL_STD": [58.0] * 3}
    weights = Weights("old.pth", "detr_d2", build(cfg).state_dict(), settings=settings)
    load_weights(build(cfg), weights, cfg=cfg)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    message = "old.pth was trained with MODEL.DETR.POSITION_TEMPERATURE 20.0, the config has 10000"
    assert record.getMessage().startswith(message)
    # Statistics may be rounded, but not by a tenth.
    cfg.MODEL.PIXEL_STD = [58.04, 58.0, 58.0]
    load_weights(build(cfg), weights, cfg=cfg)
    cfg.MODEL.PIXEL_STD = [58.1, 58.0, 58.0]
    with pytest.raises(WeightsError, match=r"MODEL\.PIXEL_STD"):
        load_weights(build(cfg), weights, cfg=cfg)


def test_other_shapes_are_told_and_left(tmp_path):
    cfg = tiny_cfg("Detr")
    old = build(cfg)
    cfg.MODEL.DETR.DIM_FEEDFORWARD = 48
    new = build(cfg)
    report = load_weights(new, Weights("x", "detr_d2", old.state_dict()))
    left = {status.name: status for status in report.statuses if status.state == "re-initialised"}
    wide = left["transformer.encoder.layers.0.linear1.weight"]
    assert (wide.shape, wide.shape_there) == ((48, 32), (32, 32))
    assert len(left) == 9, "linear1's weight and bias, linear2's weight, of three layers"
    assert "48x32 (there 32x32), 48 (there" in report.table()


def test_weights_that_fit_nothing_stop_the_job(tmp_path):
    torch.save({"bert.encoder.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"nothing in .*bert\.encoder\.weight.*model wants"):
        Checkpointer(build(tiny_cfg())).load(str(tmp_path / "x.pth"))


def test_resuming_takes_the_weights_as_they_are(tmp_path, named):
    cfg = named("pipe", "crane")
    model = build(cfg)
    Checkpointer(model, str(tmp_path)).save("model_1", iteration=1)
    cfg.MODEL.DETR.LOAD.CLASS_ROWS, cfg.MODEL.DETR.LOAD.BOX_HEAD = "none", False
    rules = LoadingRules.from_config(cfg)
    again = build(cfg)
    again.box_head.class_embed.weight.data += 1
    start = Checkpointer(again, cfg=cfg, rules=rules)
    start.resume_or_load(str(tmp_path / "model_1.pth"), resume=False)
    assert not torch.equal(again.box_head.class_embed.weight, model.box_head.class_embed.weight)
    resumed = Checkpointer(again, str(tmp_path), cfg=cfg, rules=rules)
    rest = resumed.resume_or_load("", resume=True)
    assert torch.equal(again.box_head.class_embed.weight, model.box_head.class_embed.weight)
    assert rest["iteration"] == 1


def test_older_checkpoints_find_their_classes_beside_them(tmp_path, named):
    model = build(named("pipe", "crane"))
    torch.save({"model": model.state_dict()}, tmp_path / "x.pth")
    assert open_weights(str(tmp_path / "x.pth")).classes is None
    categories = [
        {"id": 2, "name": "pipe", "isthing": 1},
        {"id": 4, "name": "crane", "isthing": 1},
    ]
    (tmp_path / "categories.json").write_text(json.dumps(categories))
    assert open_weights(str(tmp_path / "x.pth")).classes == ("pipe", "crane")
    (tmp_path / "categories.json").write_text(json.dumps(categories[:1]))
    assert open_weights(str(tmp_path / "x.pth")).classes is None


def test_what_the_model_has_no_place_for_is_unused_but_for_counters():
    model = torch.nn.Linear(2, 1)
    ours = {
        **model.state_dict(),
        "neck.a": torch.ones(3),
        "norm.num_batches_tracked": torch.ones(1),
    }
    report = load_weights(model, Weights("x", "y", ours, unknown={"fc": torch.ones(4, 5)}))
    unused = {s.name: (s.shape, s.note) for s in report.statuses if s.state == "unused"}
    assert unused == {"neck.a": ((3,), "not in the model"), "fc": ((4, 5), "not in the model")}
    assert sorted(report.names("loaded")) == ["bias", "weight"]
