"""A tiny model with random weights that finds things, for the tests of the explanation."""

from typing import Any

import numpy as np
import torch
from tiny_model import tiny_cfg

from detr_d2.engine import Predictor
from detr_d2.visualization import Palette

PALETTE = Palette(["brick", "pipe", "crate", "sky", "soil"], None, {0, 1, 2})


def tiny_image(height: int = 72, width: int = 100) -> np.ndarray:
    """A blue square and a red one on noise."""
    image = np.random.default_rng(0).integers(60, 120, (height, width, 3)).astype(np.uint8)
    image[10:40, 10:40] = (30, 60, 200)
    image[30:60, 60:90] = (200, 60, 30)
    return image


def tiny_predictor(arch: str = "PanopticDetr", **keys: Any) -> Predictor:
    """A predictor whose random model takes every query for an object."""
    cfg = tiny_cfg(arch)
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 96, 200
    cfg.MODEL.DETR.ENC_LAYERS = 2
    cfg.MODEL.DETR.SCORE_THRESH = 0.0
    for key, value in keys.items():
        cfg.MODEL.DETR[key] = value
    torch.manual_seed(0)
    predictor = Predictor(cfg)
    predictor.model.box_head.class_embed.bias.data[-1] = -10.0
    predictor.model.postprocess.thing_ids = PALETTE.thing_ids
    return predictor
