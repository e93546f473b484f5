import json
import os

import pytest
import torch
from published_weights import box_shapes, fill, panoptic_shapes
from safetensors.torch import load_file
from tiny_model import build, tiny_cfg

from detr_d2.checkpoint import WeightsError, open_weights
from detr_d2.checkpoint.hugging_face import Architecture, write_hugging_face
from detr_d2.checkpoint.layouts import Weights
from detr_d2.checkpoint.writing import ours_content, write_original


@pytest.fixture(scope="module", params=["boxes", "panoptic"])
def published(request, tmp_path_factory):
    """A synthetic published checkpoint: its file, and its tensors by the original's names."""
    theirs = fill(box_shapes() if request.param == "boxes" else panoptic_shapes())
    path = tmp_path_factory.mktemp(request.param) / "original.pth"
    torch.save({"model": theirs}, path)
    return str(path), theirs


def assert_equal(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


def test_original_to_ours_and_back_is_bit_exact(tmp_path, published):
    path, theirs = published
    torch.save(ours_content(open_weights(path)), tmp_path / "ours.pth")
    ours = open_weights(str(tmp_path / "ours.pth"))
    assert ours.layout == "detr_d2" and ours.classes[1] == "person" and ours.classes[12] is None
    write_original(str(tmp_path / "back.pth"), ours)
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert_equal(back["model"], theirs)
    again = open_weights(str(tmp_path / "back.pth"))
    assert again.classes == ours.classes and again.layout == "original DETR"


@pytest.mark.parametrize("backbone", ["timm", "transformers"])
def test_original_to_hugging_face_and_back_is_bit_exact(tmp_path, published, backbone):
    path, theirs = published
    weights = open_weights(path)
    write_hugging_face(str(tmp_path / "hf"), weights, backbone=backbone)
    back = open_weights(str(tmp_path / "hf"))
    assert back.layout == "Hugging Face DETR" and back.unknown == {}
    assert back.classes == weights.classes
    assert_equal(back.tensors, weights.tensors)
    write_original(str(tmp_path / "back.pth"), back)
    assert_equal(torch.load(tmp_path / "back.pth", weights_only=True)["model"], theirs)


def test_hugging_faces_names_for_some_of_the_originals(tmp_path, published):
    path, theirs = published
    detr = "detr." if "mask_head.lay1.weight" in theirs else ""
    write_hugging_face(str(tmp_path), open_weights(path))
    written = load_file(str(tmp_path / "model.safetensors"))
    decoder = f"{detr}transformer.decoder.layers.5."
    for name, expected in {
        "decoder.layers.5.encoder_attn_layer_norm.weight": theirs[f"{decoder}norm2.weight"],
        "decoder.layers.5.final_layer_norm.bias": theirs[f"{decoder}norm3.bias"],
        "decoder.layers.5.encoder_attn.k_proj.weight": theirs[
            f"{decoder}multihead_attn.in_proj_weight"
        ][256:512],
        "decoder.layers.5.fc2.weight": theirs[f"{decoder}linear2.weight"],
        "encoder.layers.0.final_layer_norm.weight": theirs[
            f"{detr}transformer.encoder.layers.0.norm2.weight"
        ],
        "backbone.conv_encoder.model.layer2.0.downsample.1.bias": theirs[
            f"{detr}backbone.0.body.layer2.0.downsample.1.bias"
        ],
    }.items():
        assert torch.equal(written[f"{detr}model.{name}"], expected), name


def test_transformers_loads_the_folder_and_computes_the_same(tmp_path, published):
    transformers = pytest.importorskip("transformers")
    path, theirs = published
    weights = open_weights(path)
    write_hugging_face(str(tmp_path), weights, backbone="transformers")
    kind = json.loads((tmp_path / "config.json").read_text())["architectures"][0]
    model, info = getattr(transformers, kind).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    assert not info["mismatched_keys"]
    name = "detr." * (kind == "DetrForSegmentation")
    state = model.state_dict()
    assert torch.equal(
        state[f"{name}class_labels_classifier.weight"], theirs[f"{name}class_embed.weight"]
    )
    assert model.config.id2label[1] == "person"
    # And what transformers writes comes back to the same bits.
    model.save_pretrained(tmp_path / "again")
    assert_equal(open_weights(str(tmp_path / "again")).tensors, weights.tensors)


@pytest.mark.parametrize("dilated", [False, True])
def test_transformers_loads_the_folder_with_timms_backbone(tmp_path, dilated):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("timm")
    tensors = fill(box_shapes(rows=4))
    torch.save({"model": tensors, "classes": ["pipe", "crane", "sky"]}, tmp_path / "x.pth")
    write_hugging_face(
        str(tmp_path / "hf"), open_weights(str(tmp_path / "x.pth")), Architecture(dilated=dilated)
    )
    loading = transformers.DetrForObjectDetection.from_pretrained(
        tmp_path / "hf", output_loading_info=True
    )
    model, info = loading
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.config.id2label == {0: "pipe", 1: "crane", 2: "sky"}
    features = model.model.backbone(torch.zeros(1, 3, 64, 96), torch.ones(1, 64, 96))
    assert features[-1][0].shape[-2:] == ((4, 6) if dilated else (2, 3))
    settings = open_weights(str(tmp_path / "hf")).settings
    assert settings["MODEL.RESNETS.RES5_DILATION"] == (2 if dilated else 1)


def test_what_other_layouts_do_not_have_is_refused(tmp_path):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.PRE_NORM = True
    weights = Weights("x", "detr_d2", build(cfg).state_dict())
    with pytest.raises(WeightsError, match="PRE_NORM"):
        write_hugging_face(str(tmp_path / "hf"), weights)
    narrow = Weights("x", "detr_d2", build(tiny_cfg()).state_dict())
    with pytest.raises(WeightsError, match="no ResNet"):
        write_hugging_face(str(tmp_path / "hf"), narrow)
    with pytest.raises(WeightsError, match="DC5"):
        write_hugging_face(str(tmp_path / "hf"), narrow, Architecture(dilated=True), "transformers")
    with pytest.raises(WeightsError, match=r"no name .* for neck"):
        write_original(str(tmp_path / "x"), Weights("x", "", {"neck.weight": torch.zeros(1)}))
    assert os.listdir(tmp_path) == [], "nothing is left behind"


def test_extra_queries_and_counters_stay_here(tmp_path):
    cfg = tiny_cfg("Detr")
    cfg.MODEL.DETR.QUERY_GROUPS = 2
    cfg.MODEL.RESNETS.NORM = "BN"
    state = build(cfg).state_dict()
    assert any("extra_queries" in n for n in state) and any("num_batches" in n for n in state)
    write_original(str(tmp_path / "x.pth"), Weights("x", "detr_d2", state))
    back = open_weights(str(tmp_path / "x.pth")).tensors
    assert set(state) - set(back) == {n for n in state if "extra_q" in n or "num_batches" in n}
