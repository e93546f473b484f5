"""A model of two layers, for the tests of the engine."""

import torch
from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn


@META_ARCH_REGISTRY.register()
class ToyModel(nn.Module):
    """Learns the mean colour of images; finds one segment of stuff class 3 (soil) everywhere."""

    def __init__(self, cfg):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Linear(3, 3)
        self.head = nn.Linear(3, 1)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, batch):
        if self.training:
            self.seen += len(batch)
            colors = torch.stack([x["image"].float().mean((1, 2)) / 255 for x in batch])
            error = self.head(self.backbone(colors))
            return {"loss_square": error.square().mean(), "loss_size": error.abs().mean()}
        maps = [torch.ones((x["height"], x["width"]), dtype=torch.int32) for x in batch]
        segments = [{"id": 1, "category_id": 3, "isthing": False, "score": 0.9}]
        return [{"panoptic_seg": (one, [dict(s) for s in segments])} for one in maps]
