"""`run_onnx.py`, which stands alone, replaces no ground truth and reads no image as white."""

import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOOL = Path(__file__).parents[2] / "tools/run_onnx.py"


@pytest.fixture
def run(monkeypatch):
    """Start the tool up to where it needs a model."""
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    main = runpy.run_path(str(TOOL))["main"]

    def start(*words):
        monkeypatch.setattr(sys, "argv", ["run_onnx.py", *map(str, words)])
        main()

    return start


def test_ground_truth_is_not_replaced(run, tiny_set, capsys):
    before = tiny_set.json_path.read_bytes()
    with pytest.raises(SystemExit):
        run("--output", tiny_set.root, tiny_set.root / "images/a.jpg")
    assert "panoptic.json was not written by a model" in capsys.readouterr().err
    assert tiny_set.json_path.read_bytes() == before


@pytest.mark.parametrize("name", ["pictures/a.jpg", "panoptic/a.png"])
def test_an_image_that_would_be_overwritten_is_rejected(run, tmp_path, capsys, name):
    (tmp_path / name).parent.mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(SystemExit):
        run("--output", tmp_path, tmp_path / "pictures/../" / name)
    assert f"{name} is an input and would be overwritten" in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == before


def test_the_set_of_the_ids_is_not_overwritten(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("--output", tmp_path, "a.jpg", "--ids-from", tmp_path / "panoptic.json")
    assert "panoptic.json is an input and would be overwritten" in capsys.readouterr().err


def test_an_image_of_16_bits_is_rejected(run, tmp_path, capsys):
    Image.fromarray(np.full((4, 5), 1000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(SystemExit):
        run("--output", tmp_path / "found", tmp_path / "deep.png")
    assert "deep.png: image mode I;16; images must have 8 bits" in capsys.readouterr().err
    assert not (tmp_path / "found").exists()
