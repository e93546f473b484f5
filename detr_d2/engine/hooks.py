"""Hooks of a training: its log, which a resumed training continues as if it had never stopped;
predictions in TensorBoard, and training.png at the end.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import HookBase, hooks
from detectron2.evaluation.evaluator import inference_context
from detectron2.utils.events import EventWriter, JSONWriter
from torch import nn

from detr_d2.visualization import Palette, comparison_row, image_grid, save_picture
from detr_d2.visualization.training_curves import plot_training, stack_pictures

# Latest values of each scalar that a checkpoint keeps: as many as the writers smooth over.
WINDOW = 20
# Detectron2 takes none in the first steps, so one of before the resume would be written as new.
STEP_TIME = "time"


class MetricsFile(JSONWriter):
    """Detectron2's metrics.json, from which a resumed training removes what it will do again."""

    _last_write: int

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path
        self._last_write: int = -1

    def continue_from(self, start_iter: int) -> None:
        """Remove the lines from `start_iter` on, and a last one that a kill has cut short."""
        kept = 0
        with open(self.path, "rb") as file:
            for line in file:
                iteration = _iteration_of(line)
                if iteration is None or iteration >= start_iter:
                    break
                kept += len(line)
                self._last_write = max(self._last_write, iteration)
        os.truncate(self.path, kept)

    def has(self, iteration: int) -> bool:
        """Whether a line of this iteration was written, or of a later one."""
        return self._last_write >= iteration


def _iteration_of(line: bytes) -> int | None:
    try:
        return int(json.loads(line)["iteration"]) if line.endswith(b"\n") else None
    except (ValueError, KeyError):
        return None


class LogHook(hooks.PeriodicWriter):
    """Detectron2's writers; the values that they smooth over are kept in the checkpoints.

    Args:
        writers: none in processes that write no log.
        period: write after each `period` iterations and at the end.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int = WINDOW) -> None:
        super().__init__(list(writers), period)
        self._values: Mapping[str, Any] = {}

    def before_train(self) -> None:
        """After a resume: put the values of the checkpoint back, and shorten metrics.json."""
        for name, (smooth, values) in self._values.items():
            if name == STEP_TIME:
                continue
            for value, iteration in values:
                self.trainer.storage.put_scalar(
                    name, value, smoothing_hint=smooth, cur_iter=iteration
                )
        if self.trainer.start_iter > 0:
            for file in self._files():
                file.continue_from(self.trainer.start_iter)

    def after_train(self) -> None:
        """Write what is left, unless the training ended early: then the resumed one writes it."""
        for writer in self._writers:
            if self.trainer.iter >= self.trainer.max_iter:
                writer.write()
            writer.close()

    def has(self, iteration: int) -> bool:
        """Whether metrics.json has this iteration."""
        return any(file.has(iteration) for file in self._files())

    def _files(self) -> list[MetricsFile]:
        return [writer for writer in self._writers if isinstance(writer, MetricsFile)]

    def state_dict(self) -> dict[str, Any]:
        """Whether to smooth, and the latest (value, iteration), of each scalar."""
        storage = self.trainer.storage
        hints = storage.smoothing_hints()
        return {
            name: (hints[name], history.values()[-WINDOW:])
            for name, history in storage.histories().items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Keep the values until there is a storage for them."""
        self._values = state_dict


COLUMNS = ("image", "ground truth", "prediction")
# Of training.png.
EXAMPLES, EXAMPLE_WIDTH = 3, 270

GetModel = Callable[[], nn.Module]
Mapper = Callable[[Mapping[str, Any]], dict[str, Any]]


class PictureHook(HookBase):
    """Show the same few images of the first test set after every evaluation.

    Args:
        cfg: the whole config; TEST.VISUALIZE images, spread evenly over DATASETS.TEST[0], are
            shown every TEST.EVAL_PERIOD iterations and at the end.
        model: gives the model to look at.
        mapper: turns a record into the model's input.
    """

    def __init__(
        self,
        cfg: CfgNode,
        model: GetModel,
        mapper: Mapper,
    ) -> None:
        self.dataset_name = cfg.DATASETS.TEST[0]
        self.count = cfg.TEST.VISUALIZE
        self.period = cfg.TEST.EVAL_PERIOD
        self.model = model
        self.mapper = mapper

    def after_step(self) -> None:
        """Draw whenever Detectron2's EvalHook has evaluated during training."""
        done = self.trainer.iter + 1
        if self.period > 0 and done % self.period == 0 and done != self.trainer.max_iter:
            self.draw()

    def after_train(self) -> None:
        """Draw at the end, unless training failed before."""
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self.draw()

    def draw(self) -> None:
        """Run the model on the images and put the pictures into the event storage."""
        rows = compare(self.dataset_name, self.count, self.model(), self.mapper)
        for image_id, row in rows.items():
            chw = np.ascontiguousarray(image_grid([row], COLUMNS).transpose(2, 0, 1))
            self.trainer.storage.put_image(f"{self.dataset_name}/{image_id}", torch.from_numpy(chw))


class TrainingPictureHook(HookBase):
    """Write training.png when a training is done: losses, figures over time, predictions.

    Register it after the hook that writes metrics.json, in the process that does.

    Args:
        cfg: the whole config; predictions are of DATASETS.TEST[0], if there is one.
        model, mapper: as `PictureHook` has them.
    """

    def __init__(self, cfg: CfgNode, model: GetModel, mapper: Mapper) -> None:
        self.folder = Path(cfg.OUTPUT_DIR)
        self.datasets = tuple(cfg.DATASETS.TEST)
        self.model = model
        self.mapper = mapper

    def after_train(self) -> None:
        """Write, unless the training ended early."""
        metrics = self.folder / "metrics.json"
        if self.trainer.iter < self.trainer.max_iter:
            return
        has_log = metrics.is_file() and metrics.stat().st_size > 0
        parts = [plot_training(self.folder)] if has_log else []
        if self.datasets:
            rows = compare(self.datasets[0], EXAMPLES, self.model(), self.mapper, EXAMPLE_WIDTH)
            parts += [image_grid(list(rows.values()), COLUMNS)] if rows else []
        if parts:
            save_picture(self.folder / "training.png", stack_pictures(parts))


def compare(
    dataset_name: str, count: int, model: nn.Module, mapper: Mapper, width: int = 400
) -> dict[Any, list[np.ndarray]]:
    """Render image, ground truth and prediction of a few images, spread evenly over a data set.

    Returns:
        The three pictures by the image's id.
    """
    records = DatasetCatalog.get(dataset_name)
    palette = Palette.from_metadata(MetadataCatalog.get(dataset_name))
    rows = {}
    for index in np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int):
        record = records[index]
        with inference_context(model), torch.no_grad():
            (output,) = model([mapper(record)])
        rows[record["image_id"]] = comparison_row(record, output, palette, width)
    return rows
