import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.utils.events import EventStorage
from tiny_model import build, make_input, tiny_cfg

from detr_d2.modeling import Detr, class_metadata
from detr_d2.modeling.class_metadata import classes_of
from detr_d2.modeling.padding import group_by_size


def test_training_returns_weighted_losses_only_and_logs_the_errors(half_empty_batch):
    model = build(tiny_cfg("Detr"))
    with EventStorage() as storage:
        losses = model(half_empty_batch)
    kinds = ("loss_class", "loss_l1", "loss_giou")
    assert set(losses) == {*kinds, *(f"{kind}_0" for kind in kinds)}
    assert {"class_error", "cardinality_error"} <= set(storage.latest())
    sum(losses.values()).backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all()
        for p in model.parameters()
        if p.requires_grad
    )


def test_all_images_empty_trains():
    model = build(tiny_cfg("Detr"))
    losses = model([make_input(64, 96, 0), make_input(80, 72, 0)])
    assert losses["loss_l1"] == 0 and losses["loss_class"] > 0
    sum(losses.values()).backward()


def test_query_groups_share_the_losses_and_only_the_first_is_kept(half_empty_batch):
    cfg = tiny_cfg("Detr")
    plain = build(cfg)
    cfg.MODEL.DETR.QUERY_GROUPS = 3
    cfg.MODEL.DETR.DROPOUT = 0.0
    model = build(cfg)
    # Three equal groups give the losses of one.
    for extra in model.extra_queries:
        extra.data.copy_(model.query_embed.weight.data)
    expected = build(cfg)
    expected.extra_queries = torch.nn.ParameterList()
    expected.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(model(half_empty_batch), expected(half_empty_batch))
    model.extra_queries[1].data += 1.0
    assert model(half_empty_batch)["loss_l1"] != expected(half_empty_batch)["loss_l1"]
    sum(model(half_empty_batch).values()).backward()
    assert model.extra_queries[1].grad.abs().sum() > 0
    assert model.eval().raw_outputs(half_empty_batch).logits.shape == (2, 7, 6)
    assert set(plain.state_dict()) < set(model.state_dict())


def test_instances_are_things_above_the_threshold_at_the_output_size(half_empty_batch):
    model = build(tiny_cfg("Detr")).eval()
    model.postprocess.thing_ids = frozenset({1, 3})
    half_empty_batch[0] |= {"height": 128, "width": 192}
    with torch.no_grad():
        outputs = model(half_empty_batch)
        everything = model.raw_outputs(half_empty_batch[:1])
    instances = outputs[0]["instances"]
    assert instances.image_size == (128, 192)
    best = everything.logits[0].softmax(-1)[:, :-1].max(-1)
    expected = torch.isin(best.indices, torch.tensor([1, 3]))
    assert len(instances) == expected.sum()
    torch.testing.assert_close(instances.scores, best.values[expected])
    model.postprocess.instance_score_thresh = 1.0
    assert len(model(half_empty_batch)[0]["instances"]) == 0
    model.postprocess.instance_on = False
    assert model(half_empty_batch) == [{}, {}]


def test_raw_outputs_have_the_documented_shapes(half_empty_batch):
    outputs = build(tiny_cfg("Detr")).eval().raw_outputs(half_empty_batch)
    assert outputs.logits.shape == (2, 7, 6)
    assert outputs.boxes.shape == (2, 7, 4) and 0 <= outputs.boxes.min() <= outputs.boxes.max() <= 1
    # Padded to 80 x 96, stride 32.
    assert outputs.padded_size == (80, 96) and outputs.image_sizes == [(64, 96), (80, 72)]
    assert outputs.encoded_image.shape == (2, 32, 3, 3)
    assert outputs.box_embeddings.shape == (2, 7, 32)
    assert outputs.padding.tolist() == [
        [[False] * 3, [False] * 3, [True] * 3],
        [[False] * 3] * 3,
    ]
    assert outputs.attention is None and outputs.masks is None


def test_groups_of_equal_size_keep_the_order():
    # The others have the width or the height of the first.
    sizes = [(64, 96), (80, 96), (64, 96), (64, 72)]
    assert group_by_size([make_input(*s, 0) for s in sizes]) == [[0, 2], [1], [3]]


def test_a_model_from_arguments_equals_the_one_from_config(half_empty_batch):
    cfg = tiny_cfg("Detr")
    expected = build(cfg).eval()
    model = Detr(**Detr.from_config(cfg)).eval()
    model.load_state_dict(expected.state_dict())
    found = model.raw_outputs(half_empty_batch)
    torch.testing.assert_close(found.logits, expected.raw_outputs(half_empty_batch).logits)


@pytest.mark.parametrize(("stride", "dilation"), [(32, 1), (16, 2)])
def test_dc5_halves_the_stride_and_leaves_the_first_block_undilated(stride, dilation):
    cfg = tiny_cfg("Detr")
    cfg.MODEL.RESNETS.RES5_DILATION = dilation
    model = build(cfg).eval()
    outputs = model.raw_outputs([make_input(64, 96, 0)])
    assert outputs.encoded_image.shape[-2:] == (64 // stride, 96 // stride)
    dilations = [block.conv2.dilation for block in model.backbone.res5]
    assert dilations == [(1, 1), (dilation,) * 2, (dilation,) * 2]
    # Images of 64 x 96 and 32 x 64.
    padding = model.raw_outputs([make_input(64, 96, 0), make_input(32, 64, 0)]).padding
    assert (~padding).sum((1, 2)).tolist() == [64 * 96 // stride**2, 32 * 64 // stride**2]


def test_number_of_classes_is_read_from_the_metadata_and_checked():
    meta = MetadataCatalog.get("tests_detr_classes")
    if not meta.get("thing_dataset_id_to_contiguous_id"):
        meta.thing_dataset_id_to_contiguous_id = {4: 0, 9: 1}
        meta.stuff_dataset_id_to_contiguous_id = {2: 2}
    cfg = tiny_cfg()
    cfg.DATASETS.TRAIN = ("tests_detr_classes",)
    cfg.MODEL.DETR.NUM_CLASSES = 0
    assert classes_of(cfg) == (3, frozenset({0, 1}))
    for wrong in ([], [0], [0, 2]):
        cfg.MODEL.DETR.THING_IDS = wrong
        with pytest.raises(ValueError, match=r"the things of data set .* are \[0, 1\]"):
            classes_of(cfg)
    cfg.MODEL.DETR.THING_IDS = None
    cfg.MODEL.DETR.NUM_CLASSES = 91
    with pytest.raises(ValueError, match=r"91.*'tests_detr_classes' has 3 classes \(2 things"):
        classes_of(cfg)
    cfg.DATASETS.TRAIN = ()
    assert classes_of(cfg) == (91, frozenset(range(91)))
    cfg.MODEL.DETR.NUM_CLASSES = 0
    with pytest.raises(ValueError, match="NUM_CLASSES"):
        classes_of(cfg)


def test_stuff_ids_may_list_the_things_too_but_not_count_apart():
    meta = MetadataCatalog.get("tests_detr_stuff_with_things")
    if not meta.get("thing_dataset_id_to_contiguous_id"):
        meta.thing_dataset_id_to_contiguous_id = {4: 0, 9: 1}
        meta.stuff_dataset_id_to_contiguous_id = {4: 0, 9: 1, 2: 2}
    apart = MetadataCatalog.get("tests_detr_apart")
    if not apart.get("thing_dataset_id_to_contiguous_id"):
        apart.thing_dataset_id_to_contiguous_id = {4: 0, 9: 1}
        apart.stuff_dataset_id_to_contiguous_id = {2: 0}
    cfg = tiny_cfg()
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.DATASETS.TRAIN = ("tests_detr_stuff_with_things",)
    assert classes_of(cfg) == (3, frozenset({0, 1}))
    cfg.DATASETS.TRAIN = ("tests_detr_apart",)
    with pytest.raises(ValueError, match="counts things and stuff apart, each from 0"):
        classes_of(cfg)


def test_outputs_are_those_of_the_first_query_group_and_the_last_layer(half_empty_batch):
    cfg = tiny_cfg("Detr")
    cfg.MODEL.DETR.DEC_LAYERS, cfg.MODEL.DETR.QUERY_GROUPS = 3, 2
    model = build(cfg).train()
    state = model.forward_detr(model.preprocess(half_empty_batch))
    # (G, L, N, Q, .)
    assert state.all_logits.shape[:3] == state.all_boxes.shape[:3] == (2, 3, 2)
    logits, boxes = model.box_head(state.box_embeddings[None, None], None)
    torch.testing.assert_close((state.logits, state.boxes), (logits[0, 0], boxes[0, 0]))
    for name, everything in (("logits", state.all_logits), ("boxes", state.all_boxes)):
        same = [
            [torch.allclose(getattr(state, name), layer) for layer in group] for group in everything
        ]
        assert same == [[False, False, True], [False, False, False]], name


@pytest.mark.parametrize(
    ("count", "expected"), [(3, ("a", "b", "c")), (2, ("x", "y")), (4, ())], ids=str
)
def test_names_are_those_of_the_first_list_that_has_one_for_each_class(
    monkeypatch, count, expected
):
    metadata = {
        "first": {"stuff_classes": ["x", "y"], "thing_classes": ["a", "b", "c"]},
        "second": {"thing_classes": ["d", "e", "f"]},
    }
    monkeypatch.setattr(class_metadata, "MetadataCatalog", metadata)
    cfg = tiny_cfg()
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("first",), ("second",)
    assert class_metadata.class_names_of(cfg, count) == expected
