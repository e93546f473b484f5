#!/usr/bin/env python
"""Images a second and memory of inference and of both training stages, for a GPU.

R-50 with random weights, 250 classes, images of 800 x 1333 with 15 segments; a training step is
that of train_net.py without the loading of images. Prints one line of JSON a row.

    python tools/benchmark/throughput.py [--batches 1 8 16] [--modes inference boxes masks]
        [--precisions fp32 bf16] [--compile] [--seconds 1.5] [--device cuda]
"""

import argparse
import gc
import itertools
import json
import statistics
from collections.abc import Callable
from typing import Any

from detr_d2.engine.solver import build_gradient_clipper, build_optimizer
from detr_d2.engine.step import AccumulatingTrainer, choose_precision
from detr_d2.export import compile_parts

import torch
from detectron2.utils.events import EventStorage
from model_speed import SEGMENTS, build, configure, wall_clock
from synthetic_input import synthetic_input

SIZE = (800, 1333)
WARM_UP, LEAST_RUNS = 3, 5
CONFIGS = {
    "inference": "detr_panoptic_R_50_25ep.yaml",
    "boxes": "detr_boxes_R_50_300ep.yaml",
    "masks": "detr_panoptic_R_50_25ep.yaml",
}


def make_work(
    mode: str, precision: str, batch: int, compiled: bool, device: str
) -> Callable[[], Any]:
    """Inference of a batch, or a training step of one of the stages."""
    method = "ours_bf16" if precision == "bf16" else "ours"
    cfg = configure(method, CONFIGS[mode])
    model = build(method, device, cfg)
    if compiled:
        compile_parts(model)
    inputs = [
        synthetic_input(SIZE, SEGMENTS, sides=(160, 200), step=(40, 60), seed=seed)
        for seed in range(batch)
    ]
    if mode == "inference":
        model.eval()
        return torch.no_grad()(lambda: model(inputs))
    trainer = AccumulatingTrainer(
        model.train(),
        itertools.repeat(inputs),
        build_optimizer(cfg, model),
        clip=build_gradient_clipper(cfg),
        precision=choose_precision(precision == "bf16", torch.device(device)),
    )
    trainer.iter = 0

    def step() -> None:
        with EventStorage():
            trainer.run_step()

    return step


def measure(work: Callable[[], Any], batch: int, seconds: float, device: str) -> dict[str, float]:
    """Images a second by the median run, and on a GPU the most memory allocated, GiB."""
    cuda = device.startswith("cuda")
    for _ in range(WARM_UP):
        wall_clock(work, device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    runs: list[float] = []
    while len(runs) < LEAST_RUNS or sum(runs) < seconds:
        runs.append(wall_clock(work, device))
    row = {"images_a_second": round(batch / statistics.median(runs), 2)}
    if cuda:
        row["memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return row


def main() -> None:
    """Measure and print every row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--modes", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    precisions = ("fp32", "bf16")
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=precisions)
    parser.add_argument("--compile", action="store_true", help="torch.compile of the parts")
    parser.add_argument("--seconds", type=float, default=1.5, help="of a row, at least")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    if args.device.startswith("cuda"):
        card = torch.cuda.get_device_name(args.device)
        print(json.dumps({"card": card, "torch": torch.__version__}), flush=True)
    for mode, precision, batch in itertools.product(args.modes, args.precisions, args.batches):
        row: dict[str, Any] = {"mode": mode, "precision": precision, "batch": batch}
        # The last row's model, which refers to itself, would count as memory of this one.
        work = None
        gc.collect()
        try:
            work = make_work(mode, precision, batch, args.compile, args.device)
            row |= measure(work, batch, args.seconds, args.device)
        except torch.OutOfMemoryError:
            row["error"] = "out of memory"
        print(json.dumps(row | {"compiled": args.compile}), flush=True)


if __name__ == "__main__":
    main()
