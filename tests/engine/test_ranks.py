"""Each process does its part: tested in one process that believes to be one of several."""

from typing import ClassVar

import pytest
import torch
from detectron2.engine.hooks import PeriodicCheckpointer
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from torch import nn
from toy_model import ToyModel

from detr_d2.engine import DetrTrainer
from detr_d2.engine.evaluation import held_out_losses
from detr_d2.engine.hooks import PictureHook, TrainingPictureHook


@META_ARCH_REGISTRY.register()
class NoisyToyModel(ToyModel):
    """Takes a random number in each step, as dropout does."""

    numbers: ClassVar[list[float]] = []

    def forward(self, batch):
        if self.training:
            self.numbers.append(torch.rand(1).item())
        return super().forward(batch)


def test_each_process_has_random_numbers_of_its_own_and_one_writes(toy_cfg, tmp_path, monkeypatch):
    toy_cfg.MODEL.META_ARCHITECTURE = "NoisyToyModel"
    toy_cfg.SOLVER.EMA.ENABLED = True
    # A process of a higher rank than there are processes has no image to evaluate.
    toy_cfg.TEST.EVALUATORS = []
    toy_cfg.TEST.VISUALIZE = 1
    drawn = []
    for rank in (1, 0, 0):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(NoisyToyModel, "numbers", [])
        toy_cfg.OUTPUT_DIR = str(tmp_path / f"{len(drawn)}")
        DetrTrainer(toy_cfg).train()
        drawn.append(NoisyToyModel.numbers)
    other, first, again = drawn
    assert first == again
    assert len({*first, *other}) == 8
    written = [p for p in (tmp_path / "0").rglob("*") if p.is_file()]
    assert written == []
    assert {"model_final.pth", "model_ema.pth"} <= {p.name for p in (tmp_path / "1").iterdir()}


def test_one_process_saves_and_draws(toy_cfg, monkeypatch):
    """The others would do it in vain."""
    toy_cfg.TEST.VISUALIZE = 1
    kinds = []
    for rank in range(2):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        kinds.append([type(hook) for hook in DetrTrainer(toy_cfg)._hooks])
    first, second = kinds
    alone = [kind for kind in first if kind not in second]
    assert alone == [PeriodicCheckpointer, PictureHook, TrainingPictureHook]
    assert second == [kind for kind in first if kind not in alone]


def test_a_batch_that_processes_cannot_share_is_rejected(toy_cfg, monkeypatch):
    monkeypatch.setattr(comm, "get_world_size", lambda: 3)
    toy_cfg.SOLVER.IMS_PER_BATCH, toy_cfg.SOLVER.ACCUMULATE = 9, 2
    message = r"IMS_PER_BATCH 9 must be a multiple of .* = 6"
    with pytest.raises(ValueError, match=message):
        DetrTrainer.build_train_loader(toy_cfg)
    toy_cfg.SOLVER.IMS_PER_BATCH = 12
    # Of all processes together, in each of the two parts.
    assert DetrTrainer.build_train_loader(toy_cfg).batch_size == 6


class Numbered(nn.Module):
    """Its loss is the id of the image."""

    def losses(self, batch):
        (image,) = batch
        return {"loss_class": torch.tensor(float(image["image_id"]))}


def test_processes_share_the_images_whose_losses_are_measured(toy_cfg, monkeypatch):
    """Three images by two processes: 0, 1 of the set by one, and 1, 2 by the other."""
    toy_cfg.TEST.LOSS_IMAGES = 3
    parts = []
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(comm, "all_gather", lambda part: parts.append(part) or parts)
    for rank in range(2):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        found = held_out_losses(toy_cfg, Numbered())
    assert [part["loss_class"] for part in parts] == [7 + 8, 8 + 9]
    # The second process has both parts.
    assert found == {"total_loss": 8.0, "loss_class": 8.0}
