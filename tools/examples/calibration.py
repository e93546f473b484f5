"""A fixed piece of work to compare machines by: seconds of a training say little without it."""

import time

import torch
from torch.nn import functional as F

# Forward and backward passes of one convolution and one matrix product of the demo's size.
PASSES = 10
BATCH, CHANNELS, HEIGHT, WIDTH = 16, 64, 32, 40
REPEATS = 3


def calibrate() -> float:
    """Seconds of the fixed work on as many threads as torch uses now: the least of some trials.

    It has nothing random: 10 passes of a 3 x 3 convolution of 64 channels on 16 maps of 32 x 40,
    and of a product of its cells with a 64 x 64 matrix, both ways, in float32.
    """
    maps = torch.linspace(-1, 1, BATCH * CHANNELS * HEIGHT * WIDTH)
    maps = maps.view(BATCH, CHANNELS, HEIGHT, WIDTH).contiguous(memory_format=torch.channels_last)
    weight = torch.linspace(-0.1, 0.1, CHANNELS * CHANNELS * 9).view(CHANNELS, CHANNELS, 3, 3)
    matrix = weight[..., 0, 0].clone().requires_grad_()
    weight = weight.contiguous(memory_format=torch.channels_last).requires_grad_()

    def work() -> float:
        start = time.perf_counter()
        for _ in range(PASSES):
            features = F.conv2d(maps, weight, padding=1).relu()
            (features.flatten(2).transpose(1, 2) @ matrix).square().mean().backward()
        return time.perf_counter() - start

    work()  # the first one also waits for memory and threads
    return min(work() for _ in range(REPEATS))
