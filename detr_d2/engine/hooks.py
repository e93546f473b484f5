"""Pictures of predictions into TensorBoard, at each evaluation."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import HookBase
from detectron2.evaluation.evaluator import inference_context
from torch import nn

from detr_d2.visualization import Palette, comparison_row, image_grid

COLUMNS = ("image", "ground_truth", "prediction")


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
        model: Callable[[], nn.Module],
        mapper: Callable[[Mapping[str, Any]], dict[str, Any]],
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
        records = DatasetCatalog.get(self.dataset_name)
        count = min(self.count, len(records))
        model = self.model()
        palette = Palette.from_metadata(MetadataCatalog.get(self.dataset_name))
        for index in np.linspace(0, len(records) - 1, count).round().astype(int):
            record = records[index]
            with inference_context(model), torch.no_grad():
                (output,) = model([self.mapper(record)])
            sheet = image_grid([comparison_row(record, output, palette)], COLUMNS)
            chw = np.ascontiguousarray(sheet.transpose(2, 0, 1))
            name = f"{self.dataset_name}/{record['image_id']}"
            self.trainer.storage.put_image(name, torch.from_numpy(chw))
