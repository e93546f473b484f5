"""Speed and memory of the panoptic merge against the published one, on masks of round segments."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from detr_d2.modeling.box_head import predict_classes
from detr_d2.modeling.panoptic_merge import panoptic_inference
from detr_d2.ops.masks import Size

import torch
from model_speed import choose_allocator, peak_cpu_memory, segment_logits, spread
from published import merge_as_published

COUNTS, SIZES = (15, 100), ((800, 1066), (3000, 4000))
CELLS = (200, 267)
METHODS = ("published", "ours")


def make_merge(method: str, count: int, size: Size) -> Callable[[], Any]:
    """Merge things of one class, from logits at a quarter of 800 x 1066."""
    noise = torch.randn(count, *CELLS, generator=torch.Generator().manual_seed(1))
    masks = segment_logits(noise.shape, noise.device, noise.dtype) + 0.05 * noise
    found = predict_classes(torch.tensor([[1.0, 0.0, -9.0]]).repeat(count, 1))
    things = frozenset({0, 1})
    if method == "published":
        return lambda: merge_as_published(masks, found, things, SIZES[0], size)
    return lambda: panoptic_inference(
        masks, found.scores, found.classes, thing_ids=things, min_area=5, compete_at=size
    )


def measure_merge(repeats: int) -> list[dict[str, Any]]:
    """Seconds, ratios and peak memory of every number of segments and size of the output."""
    rows = []
    for size in SIZES:
        for count in COUNTS:
            works = {method: make_merge(method, count, size) for method in METHODS}
            seconds: dict[str, list[float]] = {method: [] for method in METHODS}
            for turn in range(repeats + 1):
                for method, work in works.items():
                    choose_allocator(method)
                    start = time.perf_counter()
                    work()
                    if turn:
                        seconds[method].append(time.perf_counter() - start)
            row: dict[str, Any] = {"segments": count, "size": size}
            for method in METHODS:
                command = [sys.executable, __file__, method, str(count), *map(str, size)]
                peak = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                row[method] = {
                    "seconds": round(statistics.median(seconds[method]), 4),
                    "peak_memory_mib": float(peak.stdout),
                }
            pairs = zip(*(seconds[method] for method in METHODS), strict=True)
            row["ratio"] = spread([slow / fast for slow, fast in pairs])
            rows.append(row)
    return rows


def peak_memory(method: str, count: int, size: Size) -> float:
    """MiB above what the process holds before."""
    return peak_cpu_memory(method, make_merge(method, count, size))


if __name__ == "__main__":
    name, segments, height, width = sys.argv[1:]
    print(json.dumps(round(peak_memory(name, int(segments), (int(height), int(width))), 1)))
