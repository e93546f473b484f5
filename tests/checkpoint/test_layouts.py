"""What a file says besides its tensors: where they lie, their classes, the settings they need."""

import argparse
import pickle

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from tiny_model import tiny_cfg

from detr_d2.checkpoint import WeightsError, open_weights
from detr_d2.checkpoint.layouts import recognise
from detr_d2.checkpoint.settings import CAFFE2, check_settings, departures
from detr_d2.checkpoint.tensor_names import CAFFE2 as CAFFE2_NAMES
from detr_d2.checkpoint.tensor_names import Table, fuse_attention

CLASSIFIER = "box_head.class_embed.weight"


@pytest.fixture
def opened(tmp_path):
    """Write a torch file and open it."""

    def _opened(content):
        torch.save(content, tmp_path / "x.pth")
        return open_weights(str(tmp_path / "x.pth"))

    return _opened


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict", "model_state", "blobs"])
def test_the_dictionaries_of_training_programs(opened, key):
    weights = opened({"epoch": 7, key: {"w": torch.ones(2), "note": "x"}})
    assert weights.tensors.keys() == {"w"} and weights.rest == {"epoch": 7}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["module.a.w", "module.b"], {"a.w", "b"}),
        # Only some: it is a part of the model.
        (["module.a.w", "b"], {"module.a.w", "b"}),
    ],
)
def test_names_of_a_model_wrapped_for_several_processes(opened, names, expected):
    weights = opened({"model": {name: torch.ones(1) for name in names}})
    assert weights.tensors.keys() == expected


def test_arrays_of_all_kinds_of_numbers_become_tensors(tmp_path):
    arrays = {kind: np.array([1, 0], kind) for kind in ("f4", "i8", "u1", "?")}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"blobs": arrays}))
    tensors = open_weights(str(tmp_path / "x.pkl")).tensors
    assert {kind: tensor.tolist() for kind, tensor in tensors.items()} == {
        "f4": [1.0, 0.0],
        "i8": [1, 0],
        "u1": [1, 0],
        "?": [True, False],
    }


def test_tensors_without_numbers_are_named(opened):
    with pytest.raises(WeightsError, match=r"x\.pth: odd is no ordinary tensor"):
        opened({"w": torch.ones(1), "odd": torch.ones(1, device="meta")})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"nheads": 4, "pre_norm": True, "dilation": True}, (4, True, 2)),
        ({"nheads": 8, "pre_norm": False, "dilation": False}, (8, False, 1)),
        ({"nheads": 8}, (8, False, 1)),
    ],
)
def test_settings_by_the_arguments_of_an_original_training(opened, arguments, expected):
    settings = opened({"model": {"w": torch.ones(1)}, "args": argparse.Namespace(**arguments)})
    keys = ("MODEL.DETR.NHEADS", "MODEL.DETR.PRE_NORM", "MODEL.RESNETS.RES5_DILATION")
    assert tuple(settings.settings[key] for key in keys) == expected


def original(rows):
    """A few tensors by which the original is known."""
    return {
        "transformer.decoder.norm.weight": torch.ones(4),
        "class_embed.weight": torch.ones(rows, 4),
        "query_embed.weight": torch.ones(3, 4),
    }


@pytest.mark.parametrize("masks", [False, True])
def test_how_attention_is_normalised_matters_to_masks_only(opened, masks):
    tensors = original(rows=4)
    if masks:
        tensors["bbox_attention.q_linear.bias"] = torch.ones(1)
    settings = opened({"model": tensors}).settings
    assert ("MODEL.DETR.BBOX_ATTENTION.NORMALIZE" in settings) == masks
    # The original has no reference points; a file without queries says nothing of them.
    assert settings["MODEL.DETR.REFERENCE_POINTS"] is False
    assert "MODEL.DETR.REFERENCE_POINTS" not in opened({"w": torch.ones(1)}).settings


def test_classes_in_the_file_are_names_of_rows_and_not_left_over(opened):
    weights = opened({"model": {CLASSIFIER: torch.ones(4, 2)}, "classes": ["pipe", None, "sky"]})
    assert (weights.classes, weights.rest) == (("pipe", None, "sky"), {})


def test_categories_beside_the_original_are_those_of_its_own_training_only(opened, tmp_path):
    """Its rows are ids with gaps; ours are in the order of the table."""
    (tmp_path / "categories.json").write_text('[{"id": 1, "name": "pipe", "isthing": 1}]')
    assert opened({"model": original(rows=2)}).classes is None
    assert opened({"model": {CLASSIFIER: torch.ones(2, 4)}}).classes == ("pipe",)


def test_every_mark_of_a_layout_must_be_there():
    assert recognise(["conv1.weight", "layer1.0.conv1.weight"]).name == "torchvision ResNet"
    assert recognise(["conv1.weight", "fc.weight"]).name == "detr_d2"
    assert recognise(["x.conv1.weight", "layer1.0.conv1.weight"]).name == "detr_d2"


def test_caffe2s_backbones_need_what_detectron2_has_by_default():
    """Its own configs are made for them."""
    assert departures(CAFFE2, get_cfg()) == {}
    assert set(CAFFE2) == {
        *("INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD"),
        "MODEL.RESNETS.STRIDE_IN_1X1",
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("res2_0_branch2b_w", "res2.0.conv2.weight"),
        ("res5_2_branch2c_bn_s", "res5.2.conv3.norm.weight"),
        ("res4_22_branch2a_bn_b", "res4.22.conv1.norm.bias"),
        ("res3_0_branch1_w", "res3.0.shortcut.weight"),
        ("fc1000_w", None),
    ],
)
def test_caffe2s_names(theirs, ours):
    assert Table(CAFFE2_NAMES).ours(theirs) == ours


def test_attention_is_joined_in_the_order_q_k_v_where_all_three_are_there():
    name = "transformer.decoder.layers.0.self_attn"
    parts = {f"{name}.{x}_proj.bias": torch.tensor([float(i)]) for i, x in enumerate("qkv")}
    joined = fuse_attention(dict(reversed(parts.items())))
    assert {n: t.tolist() for n, t in joined.items()} == {f"{name}.in_proj_bias": [0, 1, 2]}
    del parts[f"{name}.v_proj.bias"]
    assert fuse_attention(parts) == parts


@pytest.mark.parametrize(
    ("key", "wanted", "warned"),
    [
        ("MODEL.RESNETS.RES5_DILATION", 2, True),
        ("MODEL.DETR.BBOX_ATTENTION.NORMALIZE", "per_head", True),
        ("MODEL.DETR.NHEADS", 4, False),
        ("MODEL.DETR.PRE_NORM", True, False),
        ("MODEL.PIXEL_MEAN", [103.53, 116.28], False),
    ],
)
def test_settings_that_are_free_are_warned_of_and_others_are_errors(key, wanted, warned):
    if warned:
        (warning,) = check_settings({key: wanted}, tiny_cfg(), "old.pth")
        assert warning.startswith(f"old.pth was trained with {key} {wanted!r}, the config has ")
    else:
        with pytest.raises(WeightsError, match=rf"^old\.pth needs .*\n  {key} "):
            check_settings({key: wanted}, tiny_cfg(), "old.pth")
