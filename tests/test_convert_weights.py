"""tools/convert_weights.py, from file to file."""

import importlib.util
import pickle
from pathlib import Path

import pytest
import torch
from published_weights import box_shapes, fill
from tiny_model import build, tiny_cfg

from detr_d2.checkpoint import open_weights

TOOL = Path(__file__).parents[1] / "tools/convert_weights.py"


@pytest.fixture
def convert():
    spec = importlib.util.spec_from_file_location("tools_convert_weights", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return lambda *words: tool.main(tool.argument_parser().parse_args(list(map(str, words))))


def test_our_weights_to_the_original_layout_and_back(tmp_path, convert):
    state = build(tiny_cfg()).state_dict()
    names = ["a", "b", "c", "d", "e"]
    torch.save({"model": state, "classes": names, "iteration": 7}, tmp_path / "model_final.pth")
    assert convert(tmp_path / "model_final.pth", tmp_path / "o.pth", "--to", "original") == 0
    original = torch.load(tmp_path / "o.pth", weights_only=True)["model"]
    assert "detr.backbone.0.body.layer4.0.bn1.running_var" in original
    assert convert(tmp_path / "o.pth", tmp_path / "back.pth", "--to", "detr_d2") == 0
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back["classes"] == names and back["model"].keys() == state.keys()
    assert all(torch.equal(back["model"][name], state[name]) for name in state)


def test_hugging_face_takes_heads_and_dilation_from_the_config(tmp_path, convert, capsys):
    torch.save({"model": fill(box_shapes(rows=4))}, tmp_path / "x.pth")
    config = tmp_path / "c.yaml"
    config.write_text(
        "MODEL: {DETR: {NHEADS: 4}, RESNETS: {RES5_DILATION: 2, STRIDE_IN_1X1: False}}\n"
        "INPUT: {FORMAT: RGB}\nVERSION: 2\n"
    )
    words = ("--to", "hugging-face", "--config-file", config)
    assert convert(tmp_path / "x.pth", tmp_path / "hf", *words) == 0
    assert "original DETR" in capsys.readouterr().out
    settings = open_weights(str(tmp_path / "hf")).settings
    assert settings["MODEL.DETR.NHEADS"] == 4 and settings["MODEL.RESNETS.RES5_DILATION"] == 2
    # The next conversion keeps them without a config, and how images are prepared.
    convert(tmp_path / "hf", tmp_path / "hf2", "--to", "hugging-face")
    assert open_weights(str(tmp_path / "hf2")).settings == settings
    name = "preprocessor_config.json"
    assert (tmp_path / "hf2" / name).read_text() == (tmp_path / "hf" / name).read_text()


def test_what_cannot_be_converted_is_one_line_and_status_1(tmp_path, convert, capsys):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"model": Path("x")}))
    assert convert(tmp_path / "x.pkl", tmp_path / "y.pth", "--to", "detr_d2") == 1
    assert "rejected" in capsys.readouterr().err and not (tmp_path / "y.pth").exists()


def test_hugging_face_needs_the_config_of_a_training_and_rejects_what_it_cannot_say(
    tmp_path, convert, capsys
):
    torch.save({"model": build(tiny_cfg()).state_dict()}, tmp_path / "x.pth")
    words = (tmp_path / "x.pth", tmp_path / "hf", "--to", "hugging-face")
    assert convert(*words) == 1
    assert "give --config-file" in capsys.readouterr().err
    cfg = tiny_cfg()
    cfg.INPUT.FORMAT, cfg.MODEL.RESNETS.STRIDE_IN_1X1 = "BGR", False
    cfg.MODEL.DETR.BBOX_ATTENTION.NORMALIZE = "per_head"
    (tmp_path / "c.yaml").write_text(cfg.dump())
    assert convert(*words, "--config-file", tmp_path / "c.yaml") == 1
    error = capsys.readouterr().err
    assert "INPUT.FORMAT 'BGR'" in error and "NORMALIZE 'per_head'" in error
    assert not (tmp_path / "hf").exists()
