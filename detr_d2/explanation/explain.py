"""Explain a trained model on an image: from a training folder or a config to the page."""

from collections.abc import Sequence
from pathlib import Path

from detr_d2.engine import Predictor, command_line, use_model_categories
from detr_d2.explanation.build_payload import build_payload
from detr_d2.explanation.page import build_page
from detr_d2.explanation.payload import Payload
from detr_d2.explanation.recorded_pass import RecordedPass, record_pass
from detr_d2.utils.files import write_text
from detr_d2.visualization import Palette, read_image


def explain_image(config: str, image: str, opts: Sequence[str] = ()) -> RecordedPass:
    """Build the model of a config and record its pass on an image file.

    Args:
        config: a training folder, whose best weights are taken, or a config file.
        image: the image's file.
        opts: KEY VALUE pairs, which win.

    Raises:
        ValueError: there is no such config, or no weights; or the model cannot be explained.
    """
    cfg = command_line.load_config(config, list(opts), best=True)
    predictor = Predictor(cfg, use_model_categories(cfg, config))
    weights = Path(cfg.MODEL.WEIGHTS).name
    return record_pass(
        predictor, read_image(image), palette_of(predictor), Path(image).name, weights
    )


def palette_of(predictor: Predictor) -> Palette:
    """Names and colours of the model's classes; where nobody knows them the model's, or numbers."""
    model = predictor.model
    try:
        return Palette.from_categories(predictor.categories.categories)
    except ValueError:
        names = model.class_names or [f"class {index}" for index in range(model.num_classes)]
        return Palette(names, None, model.postprocess.thing_ids)


def write_page(recorded: RecordedPass, path: str | Path) -> Payload:
    """Write the page of a recorded pass atomically; returns its data."""
    payload = build_payload(recorded)
    write_text(path, build_page(payload))
    return payload
