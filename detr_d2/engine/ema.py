"""Exponential moving average of the weights: evaluated instead of the last step's weights."""

import logging
import os
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from detr_d2.checkpoint.checkpointer import model_content, save_weights

logger = logging.getLogger(__name__)

FILE_NAME = "model_ema.pth"
Tensors = tuple[Tensor, ...] | list[Tensor]


def decay_at(updates: int, decay: float) -> float:
    """Share of the old average that is kept at an update.

    The share starts low and rises to `decay`, so that a short training does not drag its first,
    random weights along: (1 + t) / (10 + t) after t updates.
    """
    return min(decay, (1 + updates) / (10 + updates))


class WeightAverage:
    """The running average of one model's weights.

    Every process keeps its own; since all processes hold the same weights after each step, so do
    their averages, and nothing needs to be exchanged.

    Args:
        model: not wrapped for several processes; it is copied as it is now.
        decay: largest share of the old average kept at an update, in [0, 1].
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"SOLVER.EMA.DECAY {decay}, must be between 0 and 1")
        self.model = model
        self.decay = decay
        self.average = AveragedModel(model, multi_avg_fn=self._blend)
        self.average.requires_grad_(False)

    def _blend(self, average: Tensors, current: Tensors, updates: Tensor | int) -> None:
        get_ema_multi_avg_fn(decay_at(int(updates), self.decay))(average, current, updates)

    def update(self) -> None:
        """Blend the model's present weights in; the first call copies them."""
        self.average.update_parameters(self.model)

    def module(self) -> nn.Module:
        """A model with the averaged weights and the newest buffers, for evaluation."""
        averaged: nn.Module = self.average.module
        return averaged


class WeightAverageHook(HookBase):
    """Average after every step; write the averaged weights with every checkpoint.

    `model_ema.pth` holds plain model weights, ready for MODEL.WEIGHTS. The state for --resume is
    kept in the checkpoints themselves. Register it before the checkpointer.

    Args:
        model: not wrapped for several processes.
        decay: see `WeightAverage`.
        period: write after each `period` iterations and at the end; 0 = at the end only.
        output_dir: folder of the file.
    """

    def __init__(self, model: nn.Module, decay: float, period: int, output_dir: str) -> None:
        self.weights = WeightAverage(model, decay)
        self.period = period
        self.path = os.path.join(output_dir, FILE_NAME)
        self._resumed = False

    def before_train(self) -> None:
        """Start from the weights that were loaded after this hook was made."""
        if not self._resumed:
            self.weights = WeightAverage(self.weights.model, self.weights.decay)

    def after_step(self) -> None:
        """Average, and write when it is time."""
        self.weights.update()
        done = self.trainer.iter + 1
        at_period = self.period > 0 and done % self.period == 0
        if comm.is_main_process() and (at_period or done >= self.trainer.max_iter):
            averaged = self.weights.module().state_dict()
            save_weights(self.path, model_content(self.weights.model, averaged))

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of updates so far."""
        return {"average": self.weights.average.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the average of a checkpoint."""
        self.weights.average.load_state_dict(state_dict["average"])
        self._resumed = True
