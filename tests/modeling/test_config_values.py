"""Values of the config that differ from the defaults and from each other reach their place."""

import math

import pytest
import torch
from tiny_model import build, make_input, tiny_cfg
from torch import nn

from detr_d2.modeling import Detr, PanopticDetr
from detr_d2.modeling.bbox_attention import BBoxAttention
from detr_d2.modeling.criterion import SetCriterion
from detr_d2.modeling.matcher import HungarianMatcher, Targets
from detr_d2.modeling.padding import batch_images
from detr_d2.modeling.postprocess import PostProcess
from detr_d2.modeling.transformer import Transformer


def cfg_with(**keys):
    cfg = tiny_cfg()
    for key, value in keys.items():
        setattr(cfg.MODEL.DETR, key, value)
    return cfg


def two_objects() -> Targets:
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.2, 0.3, 0.2, 0.4]])
    return Targets(counts=[2], classes=torch.tensor([1, 0]), boxes=boxes, masks=None)


def outputs():
    """One group, one layer, one image, four queries, two classes; nothing is right."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 1, 1, 4, 3, generator=generator)
    return logits, torch.rand(1, 1, 1, 4, 4, generator=generator) * 0.4 + 0.2


# No value is a default, and none occurs twice where keys could be mistaken for each other.
VALUES = {
    "NUM_QUERIES": 9,
    "QUERY_GROUPS": 2,
    "REFERENCE_POINTS": True,
    "HIDDEN_DIM": 48,
    "NHEADS": 6,
    "DIM_FEEDFORWARD": 40,
    "ENC_LAYERS": 3,
    "DEC_LAYERS": 5,
    "DROPOUT": 0.35,
    "POSITION_TEMPERATURE": 20.0,
    "PRE_NORM": True,
    "NO_OBJECT_WEIGHT": 0.4,
    "DEEP_SUPERVISION": False,
    "COST_CLASS": 3.0,
    "COST_L1": 7.0,
    "COST_GIOU": 11.0,
    "FOLD_FROZEN_NORMS": False,
    "BF16_INFERENCE": True,
    "ERASE_PADDING": True,
    "FREEZE": True,
    "MASK_TRAIN_SCORE_THRESH": 0.15,
    "BBOX_ATTENTION.NHEADS": 4,
    "BBOX_ATTENTION.NORMALIZE": "per_head",
    "MASK_HEAD.IN_FEATURES": ["res3", "res2"],
    "INSTANCE_ON": False,
    "INSTANCE_SCORE_THRESH": 0.25,
    "PANOPTIC_ON": False,
    "SEM_SEG_ON": True,
    "SCORE_THRESH": 0.65,
    "DUPLICATE_IOU": 0.55,
    "MIN_AREA": 17,
    "POSTPROCESS.CROP_PADDING": False,
    "POSTPROCESS.UNITE_STUFF": "before_filtering",
    "POSTPROCESS.RESIZE": "ids",
}
DETR = ("num_queries", "query_groups", "reference_points", "position_temperature")
DETR += ("fold_frozen_norms", "bf16_inference", "erase_padding")
# Arguments that are called as their key; others with it.
ARGUMENTS = {
    HungarianMatcher: {name: name for name in ("cost_class", "cost_l1", "cost_giou")},
    SetCriterion: {
        "no_object_weight": "no_object_weight",
        "deep_supervision": "deep_supervision",
        "mask_score_thresh": "mask_train_score_thresh",
    },
    Transformer: {
        name: name
        for name in ("hidden_dim", "nheads", "dim_feedforward", "enc_layers", "dec_layers")
    }
    | {"dropout": "dropout", "pre_norm": "pre_norm"},
    BBoxAttention: {
        "hidden_dim": "hidden_dim",
        "num_maps": "bbox_attention.nheads",
        "normalize": "bbox_attention.normalize",
    },
    PostProcess: {
        name: name
        for name in ("panoptic_on", "instance_on", "sem_seg_on", "score_thresh", "duplicate_iou")
    }
    | {"instance_score_thresh": "instance_score_thresh", "min_area": "min_area"}
    | {name: f"postprocess.{name}" for name in ("crop_padding", "unite_stuff", "resize")},
    Detr: {name: name for name in DETR},
    PanopticDetr: {name: name for name in DETR}
    | {"freeze": "freeze", "mask_features": "mask_head.in_features"},
}


@pytest.mark.parametrize("kind", ARGUMENTS, ids=lambda kind: kind.__name__)
def test_each_argument_has_the_value_of_its_own_key(kind):
    cfg = tiny_cfg()
    pairs = [(f"MODEL.DETR.{key}", value) for key, value in VALUES.items()]
    assert all(cfg_value(cfg, key) != value for key, value in pairs)
    cfg.merge_from_list([part for pair in pairs for part in pair])
    found = kind.from_config(cfg)
    expected = {argument: VALUES[key.upper()] for argument, key in ARGUMENTS[kind].items()}
    assert {argument: found[argument] for argument in expected} == expected


def cfg_value(cfg, key):
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def test_each_loss_has_its_own_weight():
    names = {"CLASS": 2.0, "L1": 3.0, "GIOU": 7.0, "FOCAL": 11.0, "DICE": 13.0}
    ones = SetCriterion(cfg_with(**{f"{name}_WEIGHT": 1.0 for name in names}))
    weighted = SetCriterion(cfg_with(**{f"{name}_WEIGHT": w for name, w in names.items()}))
    base = ones.group_losses(*outputs(), two_objects())[0]
    found = weighted.group_losses(*outputs(), two_objects())[0]
    ratios = {name: float(found[name] / base[name]) for name in base}
    assert ratios == pytest.approx({"loss_class": 2.0, "loss_l1": 3.0, "loss_giou": 7.0})
    assert weighted.weights == {name.lower(): weight for name, weight in names.items()}


def test_no_object_weighs_what_the_config_says():
    logits, boxes = outputs()
    flat = torch.zeros_like(logits)
    flat[..., 2] = 1.0
    weight = 0.4
    criterion = SetCriterion(cfg_with(NO_OBJECT_WEIGHT=weight))
    found = criterion.group_losses(flat, boxes, two_objects())[0]["loss_class"]
    # Two queries are matched to real classes, two to "no object", which has the larger logit.
    total = math.log(2 + math.e)
    expected = (2 * total + weight * 2 * (total - 1)) / (2 + weight * 2)
    assert float(found) == pytest.approx(expected)


def test_heads_and_dropout_are_those_of_the_config():
    cfg = cfg_with(NHEADS=4, DROPOUT=0.3)
    cfg.MODEL.DETR.BBOX_ATTENTION.NHEADS = 2
    model = build(cfg)
    attention = [m for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
    # One encoder layer has one, two decoder layers have two each.
    assert [m.num_heads for m in attention] == [4] * 5
    assert [m.dropout for m in attention] == [0.3] * 5
    dropouts = [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
    assert dropouts and set(dropouts) == {0.3}
    assert model.bbox_attention.num_maps == 2


def test_dropout_acts_in_training_only():
    model = build(cfg_with(DROPOUT=0.5))
    torch.manual_seed(0)
    arguments = (
        torch.randn(1, 32, 2, 3),
        torch.zeros(1, 2, 3, dtype=torch.bool),
        torch.randn(1, 7, 32),
        torch.randn(1, 32, 2, 3),
    )
    first, second = (model.transformer.train()(*arguments)[0] for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (model.transformer.eval()(*arguments)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_each_channel_is_normalised_by_its_own_mean_and_deviation():
    cfg = tiny_cfg()
    cfg.MODEL.PIXEL_MEAN = [10.0, 20.0, 30.0]
    cfg.MODEL.PIXEL_STD = [2.0, 4.0, 5.0]
    model = build(cfg)
    image = torch.tensor([110, 60, 45], dtype=torch.uint8)[:, None, None].expand(3, 33, 40)
    small = torch.tensor([12, 24, 35], dtype=torch.uint8)[:, None, None].expand(3, 32, 64)
    batch = batch_images(
        [{"image": image}, {"image": small}], model.pixel_mean, model.pixel_std
    ).tensor
    assert batch[0, :, 32, 39].tolist() == [50.0, 10.0, 3.0]
    assert batch[1, :, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert batch[0, :, 0, 40:].abs().sum() == 0 and batch[1, :, 32:].abs().sum() == 0


def test_the_temperature_of_positions_is_that_of_the_config():
    boxes = {}
    for temperature in (20.0, 10000.0):
        model = build(cfg_with(POSITION_TEMPERATURE=temperature)).eval()
        boxes[temperature] = model.raw_outputs([make_input(64, 96, 0)]).boxes
    assert (boxes[20.0] - boxes[10000.0]).abs().max() > 1e-4
    model = build(cfg_with(POSITION_TEMPERATURE=20.0, REFERENCE_POINTS=True))
    assert model.reference_points.temperature == 20.0
