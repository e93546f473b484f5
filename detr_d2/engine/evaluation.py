"""What a training does at each evaluation besides the figures: it keeps the best weights, and
measures the losses on images that are not trained on."""

import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.evaluation.evaluator import inference_context
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn

from detr_d2.checkpoint import open_weights
from detr_d2.checkpoint.checkpointer import model_content, save_weights
from detr_d2.data.mapper import DetrMapper, build_augmentation
from detr_d2.evaluation import FIGURES, flat_results
from detr_d2.visualization.training_curves import is_loss

logger = logging.getLogger(__name__)

BEST = "model_best.pth"


class BestWeights:
    """Keeps the weights of the best evaluation as model_best.pth in OUTPUT_DIR.

    Not Detectron2's `BestCheckpointer`: that would save the weights themselves where their average
    was evaluated, let --resume go on from the best instead of the last checkpoint, and forget the
    best figure over a resume. Here the figure is stored beside the weights.

    Args:
        cfg: the first figure of TEST.BEST_BY that is measured decides, of the first of
            DATASETS.TEST.

    Raises:
        ValueError: TEST.BEST_BY names a figure that does not exist.
    """

    def __init__(self, cfg: CfgNode) -> None:
        wrong = [name for name in cfg.TEST.BEST_BY if name not in FIGURES]
        if wrong:
            raise ValueError(f"TEST.BEST_BY {wrong}, allowed: {list(FIGURES)}")
        self.path = os.path.join(cfg.OUTPUT_DIR, BEST)
        self._names = tuple(cfg.TEST.BEST_BY)
        self._datasets = tuple(cfg.DATASETS.TEST)
        self._best: float | None = None

    def keep(
        self, results: Mapping[str, Any], model: nn.Module, iteration: int, resumed: bool
    ) -> None:
        """Write the weights if they are the best so far.

        Args:
            results: of the evaluation, as `DetrTrainer.test` gives them.
            model: that was evaluated.
            iteration: of the training, for whoever reads the file.
            resumed: whether a file that is there is of an earlier part of this training.
        """
        several = len(self._datasets) > 1
        figures = flat_results(results[self._datasets[0]] if several else results)
        name = next((name for name in self._names if figures[name] is not None), None)
        value = None if name is None else figures[name]
        if resumed and self._best is None and os.path.isfile(self.path):
            self._best = open_weights(self.path).rest.get("best", {}).get("value")
        if value is None or (self._best is not None and value <= self._best):
            return
        best = {"figure": name, "value": value, "iteration": iteration}
        save_weights(self.path, {**model_content(model), "best": best})
        logger.info("%s %.2f is the best so far: written to %s", name, value, self.path)
        self._best = value


def held_out_losses(cfg: CfgNode, model: nn.Module) -> dict[str, float]:
    """Measure the losses on TEST.LOSS_IMAGES images of the first test set, spread evenly over it.

    Without dropout and random augmentation. All processes take part: one image each at a time, so
    that losses are normalised over as many images together as there are processes.

    Returns:
        Means of the last layer's losses, and `total_loss`, to which all layers add.
    """
    # The trainer has made sure that it is there.
    losses_of: Any = model.losses
    records = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    size, rank = comm.get_world_size(), comm.get_rank()
    count = -(-min(cfg.TEST.LOSS_IMAGES, len(records)) // size) * size
    places = np.linspace(0, len(records) - 1, count).round().astype(int)[rank::size]
    augmentations = build_augmentation(cfg, is_train=False)
    mapper = DetrMapper(is_train=True, augmentations=augmentations, image_format=cfg.INPUT.FORMAT)
    sums: dict[str, float] = defaultdict(float)
    # The storage keeps the errors of these images apart from those of the training.
    with inference_context(model), torch.no_grad(), EventStorage():
        for place in places:
            for name, loss in losses_of([mapper(records[place])]).items():
                sums["total_loss"] += float(loss)
                if is_loss(name):
                    sums[name] += float(loss)
    parts: list[dict[str, float]] = comm.all_gather(dict(sums))
    return {name: sum(part[name] for part in parts) / count for name in parts[0]}
