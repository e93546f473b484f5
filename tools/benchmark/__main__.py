#!/usr/bin/env python
"""Time and peak memory of the mask head: the plain computation against ours, as JSON.

One frozen-stage training step and one inference of DETR R-50 panoptic with random weights, on one
800 x 1066 image with 15 segments. "dense" runs the mask head on all 100 queries, as the published
code does; "ours" on the matched (training) or kept (inference) ones. Every case runs in a process
of its own, so that its peak memory is its own.

    python tools/benchmark/__main__.py [--device cuda] [--repeats 3]
    python tools/benchmark/__main__.py --conversion [--images 200] [--workers 2]

The second measures the conversion of masks instead: semantic PNGs and COCO polygons.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detr_d2 import add_detr_config
from detr_d2.modeling import ForwardState, PanopticDetr
from detr_d2.modeling.class_predictions import ClassPredictions

import torch
from conversion_speed import measure_conversion
from dense_mask_head import dense_masks
from detectron2.config import get_cfg
from synthetic_input import synthetic_input
from torch import Tensor

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HEIGHT, WIDTH, SEGMENTS = 800, 1066, 15
MODES, METHODS = ("inference", "training_step"), ("dense", "ours")


class DenseDetr(PanopticDetr):
    """Runs the mask head on all queries and then takes the wanted ones."""

    def predict_masks(self, state: ForwardState, queries: list[Tensor]) -> list[Tensor]:
        """As `PanopticDetr.predict_masks`, the long way."""
        features = [state.features[name] for name in self.mask_features]
        masks = dense_masks(self.mask_head, state.projected, self.attend(state), features)
        return [masks[i, wanted] for i, wanted in enumerate(queries)]


def first_queries(found: ClassPredictions) -> Tensor:
    """The first SEGMENTS of the queries: bool (Q,)."""
    return torch.arange(len(found.scores), device=found.scores.device) < SEGMENTS


def build(method: str, device: str) -> PanopticDetr:
    """DETR R-50 panoptic, frozen, with random weights and every query an object."""
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "COCO-PanopticSegmentation/detr_panoptic_R_50_25ep.yaml"))
    cfg.MODEL.DETR.NUM_CLASSES = 250
    cfg.MODEL.DETR.SCORE_THRESH = cfg.MODEL.DETR.INSTANCE_SCORE_THRESH = 0.0
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    torch.manual_seed(0)
    model = (DenseDetr if method == "dense" else PanopticDetr)(cfg)
    # The first queries only, so that random weights give that many segments.
    model.postprocess.needed_queries = first_queries
    model.box_head.class_embed.bias.data[-1] = -10.0
    return model.to(device)


def make_step(mode: str, model: PanopticDetr) -> Callable[[], None]:
    """The work to measure."""
    batch = [synthetic_input((HEIGHT, WIDTH), SEGMENTS, sides=(160, 200), step=(40, 60))]
    if mode == "inference":
        model.eval()

        def infer() -> None:
            with torch.no_grad():
                model(batch)

        return infer
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])

    def train() -> None:
        optimizer.zero_grad()
        sum(model(batch).values()).backward()
        optimizer.step()

    return train


def measure(mode: str, method: str, device: str, repeats: int) -> dict[str, float]:
    """Median seconds, and peak memory above the model's own, MiB."""
    step = make_step(mode, build(method, device))
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    else:
        before = resident()
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    if cuda:
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {
        "seconds": round(statistics.median(seconds[1:]), 3),
        "peak_memory_mib": round(peak - before, 1),
    }


def resident() -> float:
    """Memory that this process holds now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def run_in_process(mode: str, method: str, device: str, repeats: int) -> dict[str, float]:
    """`measure` in a fresh process."""
    options = ["--device", device, "--repeats", str(repeats)]
    command = [sys.executable, __file__, "--case", mode, method, *options]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def main() -> None:
    """Run all cases and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs after one warm-up")
    parser.add_argument("--case", nargs=2, metavar=("MODE", "METHOD"), help="one case only")
    parser.add_argument("--conversion", action="store_true", help="measure convert_masks.py")
    parser.add_argument("--images", type=int, default=200, help="with --conversion")
    parser.add_argument("--workers", type=int, default=2, help="with --conversion")
    args = parser.parse_args()
    if args.conversion:
        print(json.dumps(measure_conversion(args.images, args.workers), indent=2))
        return
    if args.case:
        print(json.dumps(measure(*args.case, args.device, args.repeats)))
        return
    report: dict[str, Any] = {
        "device": args.device,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "image": [HEIGHT, WIDTH],
        "segments": SEGMENTS,
    }
    for mode in MODES:
        cases = {m: run_in_process(mode, m, args.device, args.repeats) for m in METHODS}
        ratios = {
            f"{key}_ratio": round(value / cases["ours"][key], 2)
            for key, value in cases["dense"].items()
        }
        report[mode] = cases | ratios
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
