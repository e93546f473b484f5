"""A training on images of one size, from which several processes must learn what one learns."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from synthetic_input import synthetic_input
from tiny_model import tiny_cfg

from detr_d2.engine import DetrTrainer

# One size, so that nothing is padded: the padding of a batch changes what a model sees, unless it
# is erased.
SIZES = [(32, 48)]


class FixedImages(DetrTrainer):
    """Records of any size become images of one size; some hold objects, some none."""

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        loader = super().build_train_loader(cfg)
        loader._mapper = to_one_size
        return loader


def to_one_size(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with random rectangles for an image."""
    objects, size = record["image_id"] % 3, SIZES[record["image_id"] % len(SIZES)]
    return {
        **record,
        **synthetic_input(size, objects, sides=(8, 12), step=(4, 6), seed=record["image_id"]),
    }


def one_size_cfg(dataset: str, output_dir: Path) -> CfgNode:
    """DETR without dropout, 20 steps of four images."""
    cfg = tiny_cfg("Detr")
    cfg.DATASETS.TRAIN = (dataset,)
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.MODEL.DETR.DROPOUT = 0.0
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.SOLVER.OPTIMIZER = "SGD"
    cfg.SOLVER.BASE_LR = 0.001
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    cfg.SOLVER.MAX_ITER = 20
    cfg.SOLVER.STEPS = ()
    cfg.SOLVER.WARMUP_ITERS = 0
    cfg.SOLVER.CHECKPOINT_PERIOD = 0
    cfg.OUTPUT_DIR = str(output_dir)
    return cfg


def train(cfg: CfgNode, hooks: Iterable[HookBase] = ()) -> None:
    """Train with further hooks."""
    trainer = FixedImages(cfg)
    trainer.register_hooks(list(hooks))
    # Every step is logged.
    trainer._log._period = 1
    trainer.train()


def results_of(folder: Path) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Losses of every step, and the weights at the end."""
    lines = [json.loads(line) for line in (folder / "metrics.json").open()]
    losses = [{k: v for k, v in line.items() if "loss" in k} for line in lines]
    return losses, torch.load(folder / "model_final.pth", weights_only=True)["model"]
