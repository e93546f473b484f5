import numpy as np
import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn

from detr_d2.engine import Predictor

seen = []


@META_ARCH_REGISTRY.register()
class EchoModel(nn.Module):
    """Keeps its inputs for the test to look at."""

    def __init__(self, cfg):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        seen.extend(batch)
        return [{"number": number} for number in range(len(batch))]


@pytest.mark.parametrize(("order", "channel"), [("RGB", 0), ("BGR", 2)])
def test_images_are_resized_and_put_into_the_models_channel_order(toy_cfg, order, channel):
    seen.clear()
    toy_cfg.MODEL.META_ARCHITECTURE = "EchoModel"
    toy_cfg.INPUT.FORMAT = order
    toy_cfg.INPUT.MIN_SIZE_TEST = 20
    toy_cfg.INPUT.MAX_SIZE_TEST = 100
    red = np.zeros((10, 15, 3), np.uint8)
    red[..., 0] = 200

    outputs = Predictor(toy_cfg)([red, red[:, :10]])

    assert [output["number"] for output in outputs] == [0, 1]
    assert seen[0]["image"].shape == (3, 20, 30)
    assert seen[1]["image"].shape == (3, 20, 20)
    assert (seen[0]["height"], seen[0]["width"]) == (10, 15)
    assert [int(c.max()) for c in seen[0]["image"]] == [200 * (i == channel) for i in range(3)]
