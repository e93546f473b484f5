"""A tiny model and hand-made inputs for the tests of whole models."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from synthetic_input import synthetic_input

from detr_d2 import add_detr_config


def tiny_cfg(arch: str = "PanopticDetr") -> CfgNode:
    """A narrow ResNet and a transformer of two layers on CPU; five classes, all things."""
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.MODEL.META_ARCHITECTURE = arch
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.PIXEL_STD = [58.0, 58.0, 58.0]
    cfg.MODEL.BACKBONE.NAME = "build_detr_resnet_backbone"
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 8
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 8
    cfg.MODEL.DETR.NUM_CLASSES = 5
    cfg.MODEL.DETR.NUM_QUERIES = 7
    cfg.MODEL.DETR.HIDDEN_DIM = 32
    cfg.MODEL.DETR.DIM_FEEDFORWARD = 32
    cfg.MODEL.DETR.ENC_LAYERS = 1
    cfg.MODEL.DETR.DEC_LAYERS = 2
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    return cfg


def processes(count: int, **arguments: Any) -> Namespace:
    """Detectron2's options for some processes of this machine, and others of the test."""
    options = {"num_gpus": count, "num_machines": 1, "machine_rank": 0, "dist_url": ""}
    return Namespace(**options, **arguments)


def give_weights(cfg: CfgNode, folder: Path) -> None:
    """Write random weights into a file for the model of a config, which a test will run."""
    path = folder / f"{cfg.MODEL.META_ARCHITECTURE}.pth"
    # Two processes at once would read each other's half.
    if not path.exists():
        torch.manual_seed(0)
        torch.save({"model": build_model(cfg).state_dict()}, path)
    cfg.MODEL.WEIGHTS = str(path)


def build(cfg: CfgNode) -> Any:
    """The model with fixed random weights."""
    torch.manual_seed(0)
    return build_model(cfg)


def make_input(height: int, width: int, objects: int, seed: int = 0) -> dict[str, Any]:
    """A random image; object i is a 12 x 16 rectangle of class i, moved by (4, 6) each."""
    return synthetic_input((height, width), objects, sides=(12, 16), step=(4, 6), seed=seed)
