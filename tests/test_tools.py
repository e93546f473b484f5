"""The command-line tools, from files to files, with a very small model."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import read_image
from PIL import Image
from tiny_model import give_weights

from detr_d2.engine import command_line, use_model_categories
from detr_d2.evaluation import flat_results
from detr_d2.ops.panoptic_ids import rgb_to_id
from detr_d2.visualization.video import find_sources

TOOLS = Path(__file__).parents[1] / "tools"

TINY = {
    "VERSION": 2,
    "SEED": 3,
    "MODEL": {
        "META_ARCHITECTURE": "PanopticDetr",
        "DEVICE": "cpu",
        "WEIGHTS": "",
        "BACKBONE": {"NAME": "build_detr_resnet_backbone", "FREEZE_AT": 0},
        "RESNETS": {
            "DEPTH": 18,
            "RES2_OUT_CHANNELS": 64,
            "STEM_OUT_CHANNELS": 8,
            "OUT_FEATURES": ["res2", "res3", "res4", "res5"],
        },
        "DETR": {
            "HIDDEN_DIM": 16,
            "NHEADS": 2,
            "DIM_FEEDFORWARD": 16,
            "ENC_LAYERS": 1,
            "DEC_LAYERS": 1,
            "NUM_QUERIES": 5,
            "SCORE_THRESH": 0.0,
        },
    },
    "DATASETS": {"TRAIN": "('tools_set',)", "TEST": "('tools_set',)"},
    "INPUT": {"FORMAT": "RGB", "MIN_SIZE_TRAIN": "(32,)", "MIN_SIZE_TEST": 32},
    "SOLVER": {
        "IMS_PER_BATCH": 2,
        "MAX_ITER": 2,
        "STEPS": "(1,)",
        "BASE_LR": 0.001,
        "EMA": {"ENABLED": True},
    },
    "TEST": {"EVALUATORS": ["panoptic", "box", "mask"], "VISUALIZE": 1},
    "DATALOADER": {"NUM_WORKERS": 0},
}


def load_tool(name):
    spec = importlib.util.spec_from_file_location(f"tools_{name}", TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return str(path)


@pytest.fixture
def dataset(tiny_set):
    """The --dataset option for the tiny set; the name is free again afterwards."""
    yield ["--dataset", "tools_set", *map(str, tiny_set.paths().values())]
    for name in ("tools_set", "tools_set.things"):
        for catalog in (DatasetCatalog, MetadataCatalog):
            if name in catalog.list():
                catalog.remove(name)


def test_train_evaluate_and_run_on_images_and_a_video(config, dataset, tiny_set, tmp_path):
    train_net = load_tool("train_net")
    output = tmp_path / "output"
    common = ["--config-file", config, *dataset]
    results = run(train_net, [*common, "OUTPUT_DIR", str(output)])
    files = {path.name for path in output.iterdir()}
    assert {"config.yaml", "environment.txt", "categories.json", "evaluation.json"} <= files
    assert {"model_final.pth", "model_ema.pth", "metrics.json", "last_checkpoint"} <= files
    assert any(name.startswith("events.out.tfevents") for name in files)

    # The averaged weights evaluate to what training ended with.
    weights = str(output / "model_ema.pth")
    again = tmp_path / "again"
    options = ["--eval-only", "MODEL.WEIGHTS", weights, "OUTPUT_DIR", str(again)]
    assert flat_results(run(train_net, [*common, *options])) == flat_results(results)
    assert json.loads((again / "evaluation.json").read_text()) == flat_results(results)

    # A finished training has nothing left to resume.
    run(train_net, [*common, "--resume", "OUTPUT_DIR", str(output)])

    video = tmp_path / "v.mp4"
    write_video(video, 3)
    demo = load_tool("demo")
    arguments = [
        *("--config-file", str(output / "config.yaml"), "--batch", "2", "--width", "96"),
        *("--input", str(tiny_set.root / "images"), str(video)),
        *("--output", str(tmp_path / "pictures"), "--coco-panoptic", str(tmp_path / "panoptic")),
    ]
    assert demo.main(demo.argument_parser().parse_args([*arguments, "MODEL.WEIGHTS", weights])) == 0
    check_demo(tmp_path)

    before = (tmp_path / "pictures" / "a.jpg").stat().st_mtime_ns
    arguments += ["--resume", "MODEL.WEIGHTS", weights]
    assert demo.main(demo.argument_parser().parse_args(arguments)) == 0
    assert (tmp_path / "pictures" / "a.jpg").stat().st_mtime_ns == before


def test_a_tool_starts_without_warnings():
    command = [sys.executable, str(TOOLS / "train_net.py"), "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Warning" not in ran.stderr
    assert "--dataset NAME" in ran.stdout


def run(tool, arguments):
    return tool.main(tool.argument_parser().parse_args(arguments))


def write_video(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (48, 32))
    for number in range(frames):
        writer.write(np.full((32, 48, 3), 60 * number, np.uint8))
    writer.release()


def check_demo(folder):
    """Pictures at the width asked for, and a COCO-panoptic set whose parts agree."""
    assert read_image(str(folder / "pictures" / "a.jpg")).shape == (64, 96, 3)
    assert (folder / "pictures" / "deep" / "er" / "b.jpg").is_file()
    capture = cv2.VideoCapture(str(folder / "pictures" / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    content = json.loads((folder / "panoptic" / "panoptic.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    expected = {"a.jpg", "deep/er/b.png", "empty.jpg", *(f"v/{n:06d}.jpg" for n in range(3))}
    assert set(names) == expected
    assert len({image["id"] for image in content["images"]}) == 6
    found = 0
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        ids = rgb_to_id(
            np.asarray(Image.open(folder / "panoptic" / "panoptic" / annotation["file_name"]))
        )
        assert ids.shape == (image["height"], image["width"])
        listed = {segment["id"]: segment for segment in annotation["segments_info"]}
        assert set(np.unique(ids)) - {0} == set(listed)
        assert {segment["category_id"] for segment in listed.values()} <= {2, 5, 9, 40}
        found += len(listed)
    assert found > 0


@pytest.mark.parametrize("source", ["loader", "records"])
def test_data_sheet(config, dataset, tmp_path, source):
    tool = load_tool("visualize_data")
    path = tmp_path / "sheet.png"
    options = ["--config-file", config, *dataset, "--source", source]
    run(tool, [*options, "--count", "3", "--width", "80", "--output", str(path)])
    sheet = np.asarray(Image.open(path))
    # Two images a row, each beside its targets; a soil-brown legend entry.
    assert 4 * 80 < sheet.shape[1] < 4 * 80 + 120
    assert (sheet == (130, 90, 50)).all(axis=2).any()


def test_data_sheet_shows_every_class_whatever_the_count(config, dataset, tmp_path, capsys):
    """Pipe is in one image only, and as a crowd in another; sky and brick are in the other."""
    tool = load_tool("visualize_data")
    path = tmp_path / "sheet.png"
    options = ["--config-file", config, *dataset, "--source", "records", "--quiet"]
    run(tool, [*options, "--count", "1", "--width", "80", "--output", str(path)])
    assert capsys.readouterr().out == f"{path}: 2 images\n"
    sheet = np.asarray(Image.open(path))
    for color in ((130, 90, 50), (200, 60, 50), (110, 180, 230), (60, 110, 170)):
        assert (sheet == color).all(axis=2).any()


def test_data_sheet_of_sets_that_differ_in_their_classes(config, dataset, tiny_set, tmp_path):
    content = json.loads(tiny_set.json_path.read_text())
    content["categories"][0] = {**content["categories"][0], "name": "mud"}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    roots = [str(tiny_set.paths()[key]) for key in ("image_root", "panoptic_root")]
    options = ["--config-file", config, *dataset, "--dataset", "tools_set.things", *roots]
    tool = load_tool("visualize_data")
    sets = ["DATASETS.TRAIN", "('tools_set', 'tools_set.things')"]
    with pytest.raises(ValueError, match="have different classes"):
        run(tool, [*options, str(other), "--output", str(tmp_path / "x.png"), *sets])


def test_inputs_that_would_overwrite_each_other_and_empty_ones_are_errors(tmp_path):
    for name in ("one/a.jpg", "two/a.png", "two/b/c.JPG", "none/readme.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find_sources([str(tmp_path / "two")])
    assert [source.stem for source in found] == ["a", "b/c"]
    found = find_sources([str(tmp_path / "*" / "*.jpg")])
    assert [source.path.name for source in found] == ["a.jpg"]
    with pytest.raises(ValueError, match="would have the same output"):
        find_sources([str(tmp_path / "one"), str(tmp_path / "two")])
    for empty in ("none", "absent"):
        with pytest.raises(ValueError, match="no image or video there"):
            find_sources([str(tmp_path / empty)])


def test_images_that_cannot_be_read_are_told_and_the_rest_is_done(tmp_path, capsys):
    demo = load_tool("demo")
    Image.new("RGB", (8, 6)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("not a picture")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "categories.json").write_text(
        json.dumps([{"id": 1, "name": "sky", "isthing": 0, "color": [1, 2, 3]}])
    )
    cfg = command_line.load_config(str(tmp_path / "tiny.yaml"), [])
    use_model_categories(cfg, str(tmp_path / "tiny.yaml"))
    give_weights(cfg, tmp_path)
    arguments = ["--config-file", str(tmp_path / "tiny.yaml"), "--input", str(tmp_path)]
    arguments += ["--output", str(tmp_path / "pictures"), "MODEL.WEIGHTS", cfg.MODEL.WEIGHTS]
    assert run(demo, arguments) == 1
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["good.jpg"]
    assert "bad.png" in capsys.readouterr().err


def test_demo_without_categories_or_outputs_says_what_to_give(tmp_path, config, capsys):
    demo = load_tool("demo")
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    arguments = ["--config-file", config, "--input", str(tmp_path / "a.png")]
    assert run(demo, arguments) == 2
    assert "give --output, --coco-panoptic" in capsys.readouterr().err
    assert run(demo, [*arguments, "--output", str(tmp_path / "o")]) == 2
    assert "give --categories" in capsys.readouterr().err
