"""Explain a trained model on an image: from a run's folder or a config to page and pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from detr_d2.engine import Predictor, command_line, use_model_categories
from detr_d2.explanation.build_payload import build_payload
from detr_d2.explanation.page import build_page
from detr_d2.explanation.payload import Payload
from detr_d2.explanation.recorded_pass import RecordedPass, record_pass
from detr_d2.modeling import Detr
from detr_d2.utils.files import write_text
from detr_d2.visualization import Palette, read_image

# Weights of a finished run, the better first.
WEIGHTS = ("model_ema.pth", "model_final.pth")


def load_run(path: str, opts: Sequence[str] = ()) -> tuple[CfgNode, str]:
    """Read the config of a run's folder, or of a file.

    Args:
        path: a folder with `config.yaml` and weights, as training writes it, or a config file.
        opts: KEY VALUE pairs that override the config.

    Returns:
        The config, MODEL.WEIGHTS of a folder's run set, and the config's file.

    Raises:
        FileNotFoundError: the folder has no config.yaml or no weights.
    """
    if not Path(path).is_dir():
        return command_line.load_config(path, opts), path
    config = Path(path) / "config.yaml"
    if not config.is_file():
        raise FileNotFoundError(f"{path} has no config.yaml; give a run's folder or a config file")
    found = [Path(path) / name for name in WEIGHTS if (Path(path) / name).is_file()]
    if not found and "MODEL.WEIGHTS" not in opts:
        raise FileNotFoundError(f"{path} has none of {', '.join(WEIGHTS)}; give MODEL.WEIGHTS FILE")
    weights = ["MODEL.WEIGHTS", str(found[0])] if found else []
    return command_line.load_config(str(config), [*weights, *opts]), str(config)


def palette_of(cfg: CfgNode, config_file: str, model: Detr | None = None) -> Palette:
    """Names and colours of a model's classes: of `categories.json` beside the config, of its data
    sets, or (given a model) its own names, or numbers."""
    table = use_model_categories(cfg, config_file)
    if table is not None:
        return Palette.from_categories(table.categories)
    for name in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        metadata = MetadataCatalog.get(name)
        if metadata.get("stuff_classes") or metadata.get("thing_classes"):
            return Palette.from_metadata(metadata)
    if model is None:
        return Palette([])
    names = model.class_names or [f"class {index}" for index in range(model.num_classes)]
    return Palette(names, None, model.postprocess.thing_ids)


def explain_image(cfg: CfgNode, config_file: str, image: str) -> RecordedPass:
    """Build the model of a config and record its pass on an image file."""
    # Before the model is built: it takes its number of classes from there.
    palette = palette_of(cfg, config_file)
    predictor = Predictor(cfg)
    if len(palette.names) != predictor.model.num_classes:
        palette = palette_of(cfg, config_file, predictor.model)
    picture: np.ndarray = read_image(image)
    return record_pass(predictor, picture, palette, Path(image).name, Path(cfg.MODEL.WEIGHTS).name)


def write_page(recorded: RecordedPass, path: str | Path) -> Payload:
    """Write the page of a recorded pass atomically; returns its data."""
    payload = build_payload(recorded)
    write_text(path, build_page(payload))
    return payload
