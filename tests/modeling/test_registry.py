"""The examples of docs/ADVANCED_USAGE.md, run as they stand there."""

import importlib
import sys
from argparse import Namespace
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from documents import named_blocks
from PIL import Image
from tiny_model import build, make_input, tiny_cfg

from detr_d2.modeling import BBOX_ATTENTION_REGISTRY, MASK_HEAD_REGISTRY

PARTS = {"my_attention": BBOX_ATTENTION_REGISTRY, "my_mask_head": MASK_HEAD_REGISTRY}
CHOICES = [("CosineAttention", "FPNMaskHead"), ("BBoxAttention", "ShallowMaskHead")]
CHOICES += [("CosineAttention", "ShallowMaskHead")]


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """The user's modules, imported from files that hold the blocks of the document."""
    folder = tmp_path_factory.mktemp("user")
    names = [*PARTS, "my_train", "show_attention", "without_config"]
    for name in names:
        (folder / f"{name}.py").write_text(named_blocks("python")[f"{name}.py"])
    known = {name: dict(registry._obj_map) for name, registry in PARTS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        modules: dict[str, ModuleType] = {name: importlib.import_module(name) for name in names}
        yield modules
    for name in names:
        del sys.modules[name]
    for name, registry in PARTS.items():
        registry._obj_map = known[name]


def cfg_with(attention, mask_head):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.BBOX_ATTENTION.NAME = attention
    cfg.MODEL.DETR.MASK_HEAD.NAME = mask_head
    return cfg


def make_sure(model):
    """Let every query be sure of class 1."""
    model.box_head.class_embed.bias.data[1] = 20.0
    return model


@pytest.mark.parametrize(("attention", "mask_head"), CHOICES)
def test_own_parts_are_chosen_by_name_and_learn(modules, half_empty_batch, attention, mask_head):
    model = build(cfg_with(attention, mask_head))
    assert type(model.bbox_attention).__name__ == attention
    assert type(model.mask_head).__name__ == mask_head
    losses = model(half_empty_batch)
    assert {"loss_class", "loss_focal", "loss_dice"} <= set(losses)
    sum(losses.values()).backward()
    for part in (model.bbox_attention, model.mask_head):
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert any(g.abs().sum() > 0 for g in gradients)
        assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(("attention", "mask_head"), CHOICES)
def test_own_parts_predict_masks_at_inference(modules, half_empty_batch, attention, mask_head):
    model = make_sure(build(cfg_with(attention, mask_head))).eval()
    for output, (height, width) in zip(model(half_empty_batch), [(64, 96), (80, 72)], strict=True):
        ids, segments = output["panoptic_seg"]
        assert ids.shape == (height, width)
        assert {segment["category_id"] for segment in segments} == {1}
        assert output["instances"].pred_masks.shape == (7, height, width)


def test_own_parts_are_what_the_second_stage_trains(modules):
    cfg = cfg_with("CosineAttention", "ShallowMaskHead")
    cfg.MODEL.DETR.FREEZE = True
    learning = {n.split(".")[0] for n, p in build(cfg).named_parameters() if p.requires_grad}
    assert learning == {"bbox_attention", "mask_head"}


def test_own_attention_sums_to_one_and_leaves_padding_alone(modules):
    """Images of 64 x 96 and 80 x 72 padded to 80 x 96: 3 x 3 cells of 32 pixels."""
    model = build(cfg_with("CosineAttention", "FPNMaskHead")).eval()
    maps = model.raw_outputs([make_input(64, 96, 0), make_input(80, 72, 0)]).attention
    assert maps.shape == (2, 7, 1, 3, 3)
    torch.testing.assert_close(maps.sum((2, 3, 4)), torch.ones(2, 7))
    assert maps[0, :, :, 2].eq(0).all() and maps[0, :, :, :2].gt(0).all()
    assert maps[1].gt(0).all()


def test_own_mask_head_without_any_query(modules):
    cfg = cfg_with("BBoxAttention", "ShallowMaskHead")
    cfg.MODEL.DETR.SCORE_THRESH = cfg.MODEL.DETR.INSTANCE_SCORE_THRESH = 1.0
    ids, segments = build(cfg).eval()([make_input(64, 96, 0)])[0]["panoptic_seg"]
    assert ids.eq(0).all() and segments == []


def test_a_name_that_nobody_registered_is_named():
    with pytest.raises(KeyError, match=r"'NoSuchHead' found in 'MASK_HEAD' registry"):
        build(cfg_with("BBoxAttention", "NoSuchHead"))


def test_own_training_script_uses_its_own_loader(modules, tiny_set, tmp_path):
    cfg = cfg_with("CosineAttention", "ShallowMaskHead")
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATE = 2, 2
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS = 1, ()
    cfg.DATALOADER.NUM_WORKERS = 0
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(yaml.safe_load(cfg.dump())))
    output = tmp_path / "output"
    args = Namespace(
        config_file=str(tmp_path / "my.yaml"),
        register=[],
        dataset=[["my_set", *map(str, tiny_set.paths().values())]],
        opts=["DATASETS.TRAIN", "('my_set',)", "OUTPUT_DIR", str(output)],
        resume=False,
    )
    try:
        modules["my_train"].main(args)
        cfg.DATASETS.TRAIN = ("my_set",)
        cfg.SOLVER.IMS_PER_BATCH = 4
        batch = next(iter(modules["my_train"].MyTrainer.build_train_loader(cfg)))
    finally:
        for catalog in (DatasetCatalog, MetadataCatalog):
            catalog.remove("my_set")
    assert [tuple(x["image"].shape) for x in batch] == [(3, 640, 800)] * 2
    weights = torch.load(output / "model_final.pth", weights_only=True)["model"]
    assert "bbox_attention.sharpness" in weights and "mask_head.lateral.weight" in weights


def test_attention_is_drawn_where_it_is(modules, tmp_path):
    """All attention of every query on the cell at the upper right, of 2 x 3."""
    model = make_sure(build(tiny_cfg()))
    one_cell = torch.zeros(1, 7, 8, 2, 3)
    one_cell[..., 0, 2] = 1.0
    model.attend = lambda state: one_cell
    photo = np.full((64, 96, 3), 200, np.uint8)
    modules["show_attention"].show_attention(model, photo, tmp_path / "attention.png", count=2)
    sheet = np.asarray(Image.open(tmp_path / "attention.png")).astype(int).sum(2)
    top, left = np.argwhere(sheet == 600)[0]
    assert (sheet[top : top + 64, left : left + 96] == 600).all(), "the photo as it is"
    attention = sheet[top : top + 64, left + 96 + 12 :][:, :96]
    assert attention[5, 90] == 600 and attention[60, 5] == 150


def test_model_without_a_config_equals_that_of_the_config(modules):
    model = modules["without_config"].build_model(num_classes=4, thing_ids=[0, 1])
    cfg = config_of_that_model()
    twin = build(cfg)
    twin.postprocess.thing_ids = frozenset([0, 1])
    twin.load_state_dict(model.state_dict())
    batch = [make_input(64, 96, 3), make_input(80, 72, 0)]
    torch.manual_seed(1)
    losses = model(batch)
    torch.manual_seed(1)
    torch.testing.assert_close(twin(batch), losses)
    outputs, expected = twin.eval()(batch), make_sure(model).eval()(batch)
    assert [set(x) for x in outputs] == [set(x) for x in expected]
    assert {s["isthing"] for x in expected for s in x["panoptic_seg"][1]} == {True}


def config_of_that_model():
    cfg = tiny_cfg()
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    resnet = cfg.MODEL.RESNETS
    resnet.DEPTH, resnet.NORM, resnet.WIDTH_PER_GROUP = 18, "BN", 64
    resnet.STEM_OUT_CHANNELS = resnet.RES2_OUT_CHANNELS = 64
    detr = cfg.MODEL.DETR
    detr.NUM_CLASSES, detr.NUM_QUERIES, detr.HIDDEN_DIM = 4, 25, 128
    detr.DIM_FEEDFORWARD, detr.ENC_LAYERS, detr.DEC_LAYERS = 2048, 2, 3
    detr.DROPOUT = 0.0
    return cfg
