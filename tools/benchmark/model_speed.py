"""Speed and memory of the model against the published computation.

One inference and one training step with a frozen DETR, R-50 with random weights, 250 classes, one
image of 800 x 1066 with 15 segments. All variants run in turns in one process, so that a busy
machine slows all of them; peak memory is that of a process of its own. The published computation
runs with the C library's own way with freed memory, ours with `keep_freed_memory` as in all tools,
and once without.
"""

import ctypes
import functools
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detr_d2 import add_detr_config
from detr_d2.modeling import Detr
from detr_d2.modeling.box_head import ClassPredictions
from detr_d2.utils.device import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, keep_freed_memory

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import META_ARCH_REGISTRY
from published import PublishedDetr
from synthetic_input import synthetic_input
from torch import Tensor

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIZE, SEGMENTS = (800, 1066), 15
MODES = ("inference", "training_step")
METHODS = ("published", "ours", "ours_with_the_systems_allocator", "ours_bf16")


def first_queries(found: ClassPredictions) -> Tensor:
    """The first SEGMENTS of the queries, bool (Q,), so that random weights give that many."""
    return torch.arange(len(found.scores), device=found.scores.device) < SEGMENTS


def with_segments(predict: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
    """Add round segments to the masks: with random weights those of all queries are the same."""
    drawn = functools.cache(segment_logits)

    def predict_segments(*args: Any) -> list[Tensor]:
        return [m + drawn(m.shape, m.device, m.dtype) for m in predict(*args)]

    return predict_segments


def segment_logits(shape: torch.Size, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Logits (Q, h, w) of round segments, each in a place of its own."""
    generator = torch.Generator().manual_seed(0)
    count, *size = shape
    centers = torch.rand(count, 2, 1, 1, generator=generator) * torch.tensor(size)[:, None, None]
    place = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij"))
    return (8 - (place - centers).square().sum(1).sqrt() / 4).to(device, dtype)


def configure(
    method: str, config: str = "detr_panoptic_R_50_25ep.yaml", opts: Sequence[Any] = ()
) -> CfgNode:
    """Config of R-50 with 250 classes and the switches of a method."""
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "COCO-PanopticSegmentation" / config))
    detr = cfg.MODEL.DETR
    detr.NUM_CLASSES, detr.SCORE_THRESH, detr.INSTANCE_ON = 250, 0.0, False
    detr.FOLD_FROZEN_NORMS = method != "published"
    detr.BF16_INFERENCE = method == "ours_bf16"
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    cfg.merge_from_list(list(opts))
    return cfg


def build(method: str, device: str, cfg: CfgNode | None = None) -> Detr:
    """The model, by default panoptic and frozen, with random weights and every query an object."""
    cfg = cfg or configure(method)
    torch.manual_seed(0)
    if method == "published":
        model: Detr = PublishedDetr(cfg).prepare()
    else:
        model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    model.postprocess.needed_queries = first_queries
    model.predict_masks = with_segments(model.predict_masks)
    model.box_head.class_embed.bias.data[-1] = -10.0
    return model.to(device)


def make_work(mode: str, method: str, device: str) -> Callable[[], Any]:
    """The work to measure; inference returns its outputs."""
    model = build(method, device)
    batch = [synthetic_input(SIZE, SEGMENTS, sides=(160, 200), step=(40, 60))]
    if mode == "inference":
        return torch.no_grad()(lambda: model.eval()(batch))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])

    def train() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=method == "ours_bf16"):
            losses = model(batch)
        sum(losses.values()).backward()
        optimizer.step()

    return train


def clock(method: str, work: Callable[[], Any], device: str) -> tuple[float, float]:
    """Seconds of the wall clock and of the processor."""
    if choose_allocator(method):
        # The turn before has given its memory back; a process of ours alone would still have it.
        work()
    processor = time.process_time()
    return wall_clock(work, device), time.process_time() - processor


def wall_clock(work: Callable[[], Any], device: str) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def choose_allocator(method: str) -> bool:
    """Keep freed memory, or give it back as the C library does; return whether it is kept."""
    if method in ("ours", "ours_bf16"):
        return keep_freed_memory()
    # What glibc's sliding thresholds come to with blocks of this size, see mallopt(3).
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 2**25)
    mallopt(M_TRIM_THRESHOLD, 2**26)
    return False


def compare(mode: str, device: str, repeats: int) -> dict[str, Any]:
    """Run all methods in turns; ratios are published / ours of the same turn."""
    works = {method: make_work(mode, method, device) for method in METHODS}
    for method, work in works.items():
        clock(method, work, device)
    turns = [{m: clock(m, work, device) for m, work in works.items()} for _ in range(repeats)]
    report: dict[str, Any] = {}
    for method in METHODS:
        report[method] = {"seconds": spread([turn[method][0] for turn in turns])}
        if method != "published":
            for kind, name in enumerate(("ratio", "processor_ratio")):
                values = [turn["published"][kind] / turn[method][kind] for turn in turns]
                report[method][name] = spread(values)
        report[method]["peak_memory_mib"] = memory_in_process(mode, method, device)
    if mode == "inference":
        ids = {m: work()[0]["panoptic_seg"][0].cpu() for m, work in works.items()}
        for method in METHODS[1:]:
            same = (ids[method] == ids["published"]).double().mean().item()
            report[method]["share_of_equal_pixels"] = round(same, 6)
    return report


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and largest."""
    numbers = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 3) for name, value in numbers.items()}


def memory_in_process(mode: str, method: str, device: str) -> float:
    """Peak memory in MiB above that of the model, in a fresh process."""
    command = [sys.executable, __file__, mode, method, device]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def peak_memory(mode: str, method: str, device: str) -> float:
    """Peak memory in MiB of one run above what the process holds before it."""
    work = make_work(mode, method, device)
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() / 2**20 - before
    return peak_cpu_memory(method, work)


def peak_cpu_memory(method: str, work: Callable[[], Any]) -> float:
    """Peak memory in MiB of one run on the CPU above what this process holds before it."""
    choose_allocator(method)
    # Forget what this process took at its peak so far, see proc(5).
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    work()
    # getrusage would count what the process held that has started this one.
    return memory("VmHWM") - before


def memory(field: str) -> float:
    """VmRSS, what this process holds, or VmHWM, the most that it has held, MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 2**10 if found else float("nan")


def measure_model(device: str, repeats: int) -> dict[str, Any]:
    """Speed and memory of all methods in both modes."""
    return {
        "device": device,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "image": SIZE,
        "segments": SEGMENTS,
        **{mode: compare(mode, device, repeats) for mode in MODES},
    }


if __name__ == "__main__":
    print(json.dumps(round(peak_memory(*sys.argv[1:]), 1)))
