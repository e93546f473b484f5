"""config.json and preprocessor_config.json of a DETR, from the shapes of its tensors alone."""

import json

import pytest
import torch
from tiny_model import tiny_cfg

from detr_d2.checkpoint import WeightsError
from detr_d2.checkpoint.hugging_face import (
    PUBLISHED,
    Architecture,
    hugging_face_config,
    image_preparation,
    stuff_rows,
)
from detr_d2.checkpoint.layouts import Weights

CATEGORIES = [
    {"id": 7, "name": "brick", "isthing": 1},
    {"id": 9, "name": "Pipe", "isthing": 1},
    {"id": 3, "name": "sky", "isthing": 0},
]


def weights_of(blocks=(3, 4, 6, 3), rows=4, width=64, classes=None, masks=False):
    """Two layers of the encoder with a narrow MLP, three of the decoder with a wide one."""
    tensors = {
        "query_embed.weight": torch.empty(9, width),
        "box_head.class_embed.weight": torch.empty(rows, width),
        "backbone.res2.0.conv3.weight": torch.empty(256, 1),
    }
    for part, layers, hidden in (("encoder", 2, 16), ("decoder", 3, 24)):
        for i in range(layers):
            tensors[f"transformer.{part}.layers.{i}.linear1.weight"] = torch.empty(hidden, width)
    for stage, count in enumerate(blocks, start=2):
        for i in range(count):
            tensors[f"backbone.res{stage}.{i}.conv1.weight"] = torch.empty(1)
    if masks:
        tensors["mask_head.output.bias"] = torch.empty(1)
    return Weights("x.pth", "detr_d2", tensors, classes=classes)


def test_every_number_comes_from_its_own_tensor():
    config = hugging_face_config(weights_of(), Architecture(nheads=4), "timm")
    assert config["architectures"] == ["DetrForObjectDetection"]
    numbers = {key: value for key, value in config.items() if type(value) is int}
    assert numbers == {
        "d_model": 64,
        "num_queries": 9,
        "encoder_layers": 2,
        "encoder_ffn_dim": 16,
        "encoder_attention_heads": 4,
        "decoder_layers": 3,
        "decoder_ffn_dim": 24,
        "decoder_attention_heads": 4,
    }


@pytest.mark.parametrize(
    ("classes", "names"),
    [(None, ["LABEL_0", "LABEL_1", "LABEL_2"]), (("a", None, "b"), ["a", "N/A", "b"])],
)
def test_labels(classes, names):
    config = hugging_face_config(weights_of(classes=classes), Architecture(), "timm")
    assert config["id2label"] == {str(i): name for i, name in enumerate(names)}
    assert config["label2id"] == {name: i for i, name in enumerate(names)}


@pytest.mark.parametrize(
    ("depth", "blocks"), [(50, (3, 4, 6, 3)), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))]
)
def test_backbones(depth, blocks):
    config = hugging_face_config(weights_of(blocks), Architecture(), "timm")
    assert config["backbone_config"]["backbone"] == f"resnet{depth}"
    assert config["use_timm_backbone"] and not config["dilation"]
    assert "output_stride" not in config["backbone_config"]
    dilated = hugging_face_config(weights_of(blocks), Architecture(dilated=True), "timm")
    assert dilated["backbone_config"]["output_stride"] == 16 and dilated["dilation"]
    other = hugging_face_config(weights_of(blocks), Architecture(), "transformers")
    assert other["backbone_config"]["depths"] == list(blocks) and not other["use_timm_backbone"]


@pytest.mark.parametrize("nheads", [7, 8])
def test_a_mask_head_needs_groups_of_equal_size(nheads):
    architecture, masks = Architecture(nheads=nheads), weights_of(masks=True)
    hugging_face_config(weights_of(), architecture, "timm")
    if nheads == 8:
        config = hugging_face_config(masks, architecture, "timm")
        assert config["architectures"] == ["DetrForSegmentation"]
    else:
        with pytest.raises(WeightsError, match=r"HIDDEN_DIM \+ NHEADS = 64 \+ 7 to be a multiple"):
            hugging_face_config(masks, architecture, "timm")


def test_other_backbones_and_halves_are_rejected():
    narrow = weights_of()
    narrow.tensors["backbone.res2.0.conv3.weight"] = torch.empty(64, 1)
    for weights in (narrow, weights_of((2, 2, 2, 2))):
        with pytest.raises(WeightsError, match=r"blocks .* are no ResNet of \[50, 101, 152\]"):
            hugging_face_config(weights, Architecture(), "timm")
    half = weights_of()
    del half.tensors["query_embed.weight"]
    with pytest.raises(WeightsError, match=r"no whole DETR: query_embed\.weight is missing"):
        hugging_face_config(half, Architecture(), "timm")


@pytest.mark.parametrize(
    ("classes", "rows"),
    [
        (None, [2]),
        (("sky", None, "pipe", "brick"), [0]),
        (("brick", "pipe"), []),
    ],
)
def test_stuff_by_name_and_without_names_by_order(classes, rows):
    assert stuff_rows(weights_of(classes=classes), CATEGORIES) == rows


def test_classes_without_a_category_are_named():
    with pytest.raises(WeightsError, match=r"classes \['mud'\] of x\.pth are not among .*brick"):
        stuff_rows(weights_of(classes=("brick", "mud", None)), CATEGORIES)
    with pytest.raises(WeightsError, match="4 classes without names, but 3 categories"):
        stuff_rows(weights_of(rows=5), CATEGORIES)


def test_images_of_a_model_that_takes_them_as_they_are():
    cfg = tiny_cfg()
    cfg.INPUT.FORMAT, cfg.MODEL.RESNETS.STRIDE_IN_1X1 = "RGB", False
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 64, 99
    found = image_preparation(cfg)
    assert (found["do_resize"], found["size"]) == (True, {"shortest_edge": 64, "longest_edge": 99})
    cfg.INPUT.MIN_SIZE_TEST = 0
    assert image_preparation(cfg)["do_resize"] is False


def test_the_published_preparation_is_that_of_transformers():
    transformers = pytest.importorskip("transformers")
    theirs = json.loads(transformers.DetrImageProcessor().to_json_string())
    for key, value in PUBLISHED.items():
        if key != "image_processor_type":
            assert theirs[key] == pytest.approx(value), key
