"""A training folder of the tiny model, as the tests of the explanation need it."""

from pathlib import Path

from PIL import Image
from tiny_explanation import tiny_image
from tiny_model import build, tiny_cfg

from detr_d2.checkpoint.checkpointer import model_content, save_weights


def write_tiny_run(folder: Path) -> None:
    """Write config.yaml, model_final.pth and image.png; every query finds something."""
    cfg = tiny_cfg()
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 96, 200
    cfg.MODEL.DETR.SCORE_THRESH = 0.0
    model = build(cfg)
    model.box_head.class_embed.bias.data[-1] = -10.0
    save_weights(str(folder / "model_final.pth"), model_content(model))
    (folder / "config.yaml").write_text(cfg.dump())
    Image.fromarray(tiny_image()).save(folder / "image.png")
