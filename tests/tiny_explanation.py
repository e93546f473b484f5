"""A tiny model with random weights that finds things, for the tests of the explanation."""

import tempfile
from typing import Any

import numpy as np
from tiny_model import build, tiny_cfg

from detr_d2.checkpoint.checkpointer import model_content, save_weights
from detr_d2.engine import Predictor
from detr_d2.visualization import Palette

PALETTE = Palette(["brick", "pipe", "crate", "sky", "soil"], None, {0, 1, 2})


def tiny_image(height: int = 72, width: int = 100) -> np.ndarray:
    """A blue square and a red one on noise."""
    image = np.random.default_rng(0).integers(60, 120, (height, width, 3)).astype(np.uint8)
    image[10:40, 10:40] = (30, 60, 200)
    image[30:60, 60:90] = (200, 60, 30)
    return image


def tiny_predictor(arch: str = "PanopticDetr", dilation: int = 1, **keys: Any) -> Predictor:
    """A predictor whose random model takes every query for an object."""
    cfg = tiny_cfg(arch)
    cfg.MODEL.RESNETS.RES5_DILATION = dilation
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 96, 200
    cfg.MODEL.DETR.ENC_LAYERS = 2
    cfg.MODEL.DETR.SCORE_THRESH = 0.0
    for key, value in keys.items():
        cfg.MODEL.DETR[key] = value
    model = build(cfg)
    model.box_head.class_embed.bias.data[-1] = -10.0
    # Random queries attend alike; so that their masks differ nevertheless.
    if arch == "PanopticDetr":
        model.mask_head.convs[0].weight.data[:, 32:] *= 50
    with tempfile.TemporaryDirectory() as folder:
        cfg.MODEL.WEIGHTS = f"{folder}/tiny.pth"
        save_weights(cfg.MODEL.WEIGHTS, model_content(model))
        predictor = Predictor(cfg)
    predictor.model.postprocess.thing_ids = PALETTE.thing_ids
    return predictor
