"""Cost and gain in time of MODEL.DETR.ERASE_PADDING, on a batch of images of different sizes.

R-50 with random weights, 250 classes; one step of the box stage, and inference with masks, where
erased padding lets the whole batch run at once and not in groups of one size.
"""

from collections.abc import Callable
from typing import Any

import detr_d2  # noqa: F401
from detr_d2.utils.device import keep_freed_memory

import torch
from model_speed import build, configure, spread, wall_clock
from synthetic_input import synthetic_input

SIZES = ((480, 640), (640, 480), (427, 640), (512, 512))
SEGMENTS = 7


def make_work(mode: str, erase: bool, device: str) -> Callable[[], Any]:
    """The work to measure: a step of all losses, or inference, of the batch."""
    opts = ["MODEL.DETR.ERASE_PADDING", erase, "MODEL.DETR.FREEZE", False]
    model = build("ours", device, configure("ours", opts=opts))
    batch = [synthetic_input(s, SEGMENTS, sides=(90, 110), step=(40, 50)) for s in SIZES]
    if mode == "inference":
        return torch.no_grad()(lambda: model.eval()(batch))
    model.train()
    return lambda: sum(model(batch).values()).backward()


def measure_padding(device: str, repeats: int) -> dict[str, Any]:
    """Seconds without and with erased padding in turns, and how many times as long it takes."""
    keep_freed_memory()
    report: dict[str, Any] = {"sizes": SIZES}
    for mode in ("training_step", "inference"):
        works = [make_work(mode, erase, device) for erase in (False, True)]
        for work in works:
            work()
        turns = [[wall_clock(work, device) for work in works] for _ in range(repeats)]
        report[mode] = {
            "as_published": spread([turn[0] for turn in turns]),
            "erased": spread([turn[1] for turn in turns]),
            "ratio": spread([turn[1] / turn[0] for turn in turns]),
        }
    return report
