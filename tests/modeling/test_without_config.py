"""Models built from Python objects alone, with the published values as defaults."""

import inspect
from pathlib import Path

import pytest
import torch
from tiny_model import make_input

from detr_d2.engine.command_line import load_config
from detr_d2.modeling import (
    Detr,
    FPNMaskHead,
    HungarianMatcher,
    PanopticDetr,
    PostProcess,
    SetCriterion,
    Transformer,
    detr_resnet,
)
from detr_d2.modeling.panoptic_detr import DetrArguments

CONFIGS = Path(__file__).parents[2] / "configs"


def settings(part: object) -> dict:
    """Attributes of a part that are plain values."""
    plain = (bool, int, float, str, tuple, list, dict, frozenset, type(None))
    return {
        name: value
        for name, value in vars(part).items()
        if isinstance(value, plain) and not name.startswith("_") and name != "training"
    }


def test_defaults_are_those_of_the_published_config():
    cfg = load_config(str(CONFIGS / "COCO-PanopticSegmentation/detr_panoptic_R_50_300ep.yaml"), [])
    cfg.MODEL.WEIGHTS, cfg.MODEL.DETR.NUM_CLASSES = "", 250
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    expected = PanopticDetr(cfg)
    thresholds = cfg.MODEL.DETR.INSTANCE_SCORE_THRESH
    model = PanopticDetr(
        backbone=detr_resnet(),
        num_classes=250,
        postprocess=PostProcess(thing_ids=range(250), instance_score_thresh=thresholds),
    )
    assert settings(model) == settings(expected)
    for name in ("transformer", "criterion", "postprocess", "bbox_attention", "mask_head"):
        assert settings(getattr(model, name)) == settings(getattr(expected, name)), name
    assert settings(model.criterion.matcher) == settings(expected.criterion.matcher)
    # The same tensors, in the same stages frozen; strict, so that no name differs.
    model.load_state_dict(expected.state_dict())
    for (name, one), (other_name, other) in zip(
        model.named_parameters(), expected.named_parameters(), strict=True
    ):
        assert (name, one.requires_grad) == (other_name, other.requires_grad)
    torch.testing.assert_close(model.pixel_std, expected.pixel_std)
    batch = [make_input(64, 96, 0)]
    found, wanted = (m.eval().raw_outputs(batch) for m in (model, expected))
    torch.testing.assert_close(found.masks, wanted.masks)


def test_ten_lines_train_and_infer():
    model = PanopticDetr(
        backbone=detr_resnet(18, norm="BN", freeze_at=0),
        transformer=Transformer(hidden_dim=64, enc_layers=1, dec_layers=2),
        num_classes=4,
        num_queries=5,
        postprocess=PostProcess(thing_ids=[0, 1]),
    )
    sum(model([make_input(64, 96, 3), make_input(80, 72, 0)]).values()).backward()
    assert model.mask_head.output.weight.grad.abs().sum() > 0
    outputs = model.eval()([make_input(64, 96, 0)])[0]
    assert outputs["panoptic_seg"][0].shape == (64, 96)


def test_the_transformer_reads_the_feature_that_is_named():
    model = Detr(
        backbone=detr_resnet(18),
        in_feature="res4",
        transformer=Transformer(hidden_dim=32, enc_layers=1, dec_layers=1),
        num_classes=4,
        postprocess=PostProcess(thing_ids=[]),
    )
    state = model.raw_outputs([make_input(64, 96, 0)])
    projected = model.input_proj(state.features["res4"])
    assert projected.shape[-2:] == (4, 6)
    torch.testing.assert_close(state.projected, projected)


def test_dilated_resnet_has_half_the_stride():
    backbone = detr_resnet(dc5=True)
    assert backbone.output_shape()["res5"].stride == 16
    assert backbone.res5[0].conv2.dilation == (1, 1) and backbone.res5[1].conv2.dilation == (2, 2)


@pytest.mark.parametrize("hidden_dim", [8, 24, 40])
def test_channels_that_the_mask_head_cannot_halve_are_rejected(hidden_dim):
    backbone, transformer = detr_resnet(18), Transformer(hidden_dim=hidden_dim, enc_layers=1)
    with pytest.raises(ValueError, match=rf"HIDDEN_DIM is {hidden_dim}.*3 features.* of 16"):
        PanopticDetr(
            backbone=backbone,
            transformer=transformer,
            num_classes=4,
            postprocess=PostProcess(thing_ids=[]),
        )
    # Fewer levels halve less often.
    FPNMaskHead(hidden_dim=hidden_dim, num_maps=8, feature_channels=[16, 8])


def test_channels_that_the_box_model_cannot_use_are_rejected():
    with pytest.raises(ValueError, match=r"HIDDEN_DIM is 20; allowed: a multiple of .*NHEADS, 8"):
        Transformer(hidden_dim=20)
    transformer = Transformer(hidden_dim=10, nheads=2, enc_layers=1, dec_layers=1)
    with pytest.raises(ValueError, match="HIDDEN_DIM is 10; allowed: a multiple of 4"):
        Detr(
            backbone=detr_resnet(18),
            transformer=transformer,
            num_classes=4,
            postprocess=PostProcess(thing_ids=[]),
        )


def test_a_thing_class_that_is_none_is_rejected():
    with pytest.raises(ValueError, match=r"thing classes \[1, 4\]: allowed are 0 to 3"):
        Detr(backbone=detr_resnet(18), num_classes=4, postprocess=PostProcess(thing_ids=[1, 4]))


def test_defaults_of_the_parts_are_those_of_the_paper():
    matcher = HungarianMatcher()
    assert (matcher.cost_class, matcher.cost_l1, matcher.cost_giou) == (1.0, 5.0, 2.0)
    assert SetCriterion().weights == {
        "class": 1.0,
        "l1": 5.0,
        "giou": 2.0,
        "focal": 1.0,
        "dice": 1.0,
    }


def test_the_panoptic_model_names_every_argument_of_the_box_model():
    names = set(inspect.signature(Detr.__init__).parameters) - {"self"}
    assert set(DetrArguments.__annotations__) == names
    assert DetrArguments.__required_keys__ == {"backbone", "num_classes", "postprocess"}
