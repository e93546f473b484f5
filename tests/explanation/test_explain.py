"""The tool on a training folder: page and pictures."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_explanation import tiny_predictor
from tiny_run import write_tiny_run

from detr_d2.explanation.explain import explain_image, palette_of

TOOL = Path(__file__).resolve().parents[2] / "tools/explain.py"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """What a training leaves: config and weights, without categories."""
    folder = tmp_path_factory.mktemp("run")
    write_tiny_run(folder)
    return folder


def explain(*arguments):
    tool = runpy.run_path(str(TOOL))
    return tool["main"](tool["argument_parser"]().parse_args([str(a) for a in arguments]))


def test_page_and_pictures_of_a_training_folder(run_folder, tmp_path, capsys):
    page, pictures = tmp_path / "explain.html", tmp_path / "pictures"
    status = explain(
        *("--config-file", run_folder, "--input", run_folder / "image.png"),
        *("--output", page, "--pictures", pictures),
    )
    assert status == 0 and "explain.html" in capsys.readouterr().out
    text = page.read_text()
    assert "http://" not in text.split("<script", 1)[0] and 'id="array-mask-logits"' in text
    names = sorted(path.name for path in pictures.iterdir())
    assert names == [
        "1_backbone.png",
        "2_encoder.png",
        "3_encoder_attention.png",
        "4_decoder_attention.png",
        "5_bbox_attention.png",
        "6_fpn.png",
        "7_merge.png",
    ]
    for name in names:
        picture = np.asarray(Image.open(pictures / name).convert("RGB"))
        assert min(picture.shape[:2]) > 150 and picture.std() > 10, name


def test_faults_are_named_before_the_work(run_folder, tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        explain("--config-file", run_folder, "--input", tmp_path / "x.png", "--output", "x.html")
    with pytest.raises(ValueError, match="no_run"):
        explain(
            *("--config-file", tmp_path / "no_run", "--input", run_folder / "image.png"),
            *("--output", tmp_path / "x.html"),
        )
    assert not (tmp_path / "x.html").exists()


def test_the_best_weights_of_a_training_and_the_options_count(run_folder, tmp_path):
    image = run_folder / "image.png"
    recorded = explain_image(str(run_folder), str(image), ["MODEL.DETR.MIN_AREA", "3"])
    assert (recorded.title, recorded.weights) == ("image.png", "model_final.pth")
    assert recorded.model.postprocess.min_area == 3


def test_classes_are_those_of_the_training(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    names = ["nut", "bolt", "rail", "sky", "soil"]
    entries = [{"id": 9 - i, "name": n, "isthing": int(i < 3)} for i, n in enumerate(names)]
    (tmp_path / "run/categories.json").write_text(json.dumps(entries))
    palette = explain_image(str(tmp_path / "run"), str(run_folder / "image.png")).palette
    # Things first, each by id.
    assert palette.names == ["rail", "bolt", "nut", "soil", "sky"]
    assert palette.thing_ids == {0, 1, 2}


def test_classes_that_nobody_knows_are_numbers():
    predictor = tiny_predictor()
    assert palette_of(predictor).names == [f"class {number}" for number in range(5)]
    assert palette_of(predictor).thing_ids == {0, 1, 2}
    predictor.model.class_names = ["nut", "bolt", "rail", "sky", "soil"]
    assert palette_of(predictor).names == predictor.model.class_names
