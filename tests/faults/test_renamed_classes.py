"""A class that was renamed since the training is an error in every tool that runs the model."""

import json
import tempfile
from pathlib import Path

import demo
import explain
import label_stuff
import pytest
import train_net
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from tiny_model import tiny_cfg

from detr_d2 import Predictor
from detr_d2.checkpoint import WeightsError
from detr_d2.checkpoint.checkpointer import model_content, save_weights
from detr_d2.register import register_dataset

EVALUATED = "test_renamed_classes_evaluated"


@pytest.fixture
def trained(tiny_set, register, tmp_path):
    """OUTPUT_DIR of a training on pipes; since then the set's pipe is called tube."""
    folder = tmp_path / "run"
    cfg = tiny_cfg()
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (register(**tiny_set.paths()),)
    cfg.OUTPUT_DIR = str(folder)
    model = build_model(cfg)
    assert model.class_names == ("pipe", "brick", "sky", "soil")
    save_weights(str(folder / "model_final.pth"), {**model_content(model), "iteration": 1})
    (folder / "last_checkpoint").write_text("model_final.pth")
    cfg.MODEL.WEIGHTS = str(folder / "model_final.pth")
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (EVALUATED,)
    (folder / "config.yaml").write_text(cfg.dump())
    categories = [dict(category) for category in tiny_set.content["categories"]]
    next(c for c in categories if c["name"] == "pipe")["name"] = "tube"
    tiny_set.content["categories"] = categories
    tiny_set.write()
    (folder / "renamed.json").write_text(json.dumps(tiny_set.content["categories"]))
    yield folder
    for catalog in (DatasetCatalog, MetadataCatalog):
        if EVALUATED in catalog.list():
            catalog.remove(EVALUATED)


def train(folder: Path, tiny_set, *options: str) -> None:
    dataset = ["--dataset", EVALUATED, *map(str, tiny_set.paths().values())]
    arguments = ["--config-file", str(folder / "config.yaml"), *dataset, *options]
    train_net.main(train_net.argument_parser().parse_args(arguments))


def run_demo(folder: Path, tiny_set) -> None:
    arguments = ["--config-file", str(folder), "--input", str(tiny_set.root / "images")]
    arguments += ["--output", str(folder / "out"), "--categories", str(folder / "renamed.json")]
    with tempfile.TemporaryDirectory() as downloads:
        demo.run(demo.argument_parser().parse_args(arguments), downloads)


def run_explain(folder: Path, tiny_set) -> None:
    (folder / "renamed.json").rename(folder / "categories.json")
    arguments = ["--config-file", str(folder), "--input", str(tiny_set.root / "images/a.jpg")]
    explain.main(
        explain.argument_parser().parse_args([*arguments, "--output", str(folder / "a.html")])
    )


def predict(folder: Path, tiny_set) -> None:
    (folder / "renamed.json").rename(folder / "categories.json")
    Predictor.from_run(folder)


@pytest.mark.parametrize(
    "run",
    [
        lambda folder, tiny_set: train(folder, tiny_set, "--eval-only"),
        lambda folder, tiny_set: train(folder, tiny_set, "--resume"),
        run_demo,
        run_explain,
        predict,
    ],
    ids=["eval-only", "resume", "demo", "explain", "predictor"],
)
def test_it_is_named(trained, tiny_set, run):
    with pytest.raises(WeightsError, match="lacks the classes tube; it has pipe, brick"):
        run(trained, tiny_set)
    assert not (trained / "out").exists()


def test_it_is_named_by_the_labelling(trained, tiny_set, capsys):
    register_dataset(EVALUATED, **tiny_set.paths())
    arguments = ["--dataset", EVALUATED, "--config-file", str(trained)]
    arguments += ["--out", str(trained / "labels")]
    assert label_stuff.main([*arguments, "--categories", str(trained / "renamed.json")]) == 2
    assert "lacks the classes tube" in capsys.readouterr().err
