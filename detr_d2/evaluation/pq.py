"""Panoptic quality (Kirillov et al., arXiv:1801.00868) counted by panopticapi."""

import contextlib
import io
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from detr_d2.ops.panoptic_ids import read_ids

MAX_THREADS = 8


def panoptic_quality(
    ground_truth: Mapping[str, Any],
    predictions: list[dict[str, Any]],
    ground_truth_root: str,
    prediction_root: str,
) -> dict[str, dict[str, float]]:
    """Compare predictions with the ground truth, as panopticapi's `pq_compute` does.

    Unlike that function it can do without things or without stuff, and it starts no processes.
    Areas of the ground truth are counted from its PNGs: panopticapi would believe the JSON's, and
    a wrong one gives qualities far above 1.

    Args:
        ground truth: content of the COCO-panoptic JSON.
        predictions: annotations in the same annotation format, with data-set category ids.
        truth_root, prediction_root: folders of the PNGs.

    Returns:
        For "All", "Things" and "Stuff": `pq`, `sq`, `rq` in [0, 1] as means over the classes
        present, NaN if there are none, and `n`, their number.

    Raises:
        ValueError: an image of the ground truth has no prediction, or a segment the id 0, which
            is void and would be counted as both.
    """
    by_image = {prediction["image_id"]: prediction for prediction in predictions}
    missing = [a["image_id"] for a in ground_truth["annotations"] if a["image_id"] not in by_image]
    if missing:
        raise ValueError(f"no prediction for {len(missing)} image(s), the first: {missing[:5]}")
    void = [
        a["file_name"]
        for a in ground_truth["annotations"]
        if any(s["id"] == 0 for s in _segments(a))
    ]
    if void:
        raise ValueError(f"segment id 0 (void) is listed for {len(void)} PNG(s), first: {void[:5]}")
    pairs = [
        (annotation, by_image[annotation["image_id"]]) for annotation in ground_truth["annotations"]
    ]
    categories = {category["id"]: category for category in ground_truth["categories"]}
    statistics = _count(pairs, ground_truth_root, prediction_root, categories)
    groups = {"All": None, "Things": 1, "Stuff": 0}
    return {name: _average(statistics, categories, flag) for name, flag in groups.items()}


def _count(
    pairs: list[tuple[Any, Any]],
    ground_truth_root: str,
    prediction_root: str,
    categories: dict[int, Any],
) -> Any:
    """panopticapi's sums of IoU, hits and misses per category over all images."""
    from panopticapi.evaluation import PQStat

    # Threads, since decoding and sorting leave Python's lock alone, and a process would first have
    # to import torch. panopticapi itself starts a process a core, and forks them.
    threads = min(os.cpu_count() or 1, MAX_THREADS, len(pairs))
    total = PQStat()
    # It prints its progress.
    with contextlib.redirect_stdout(io.StringIO()), ThreadPoolExecutor(threads) as pool:
        jobs = [
            pool.submit(
                _count_part,
                i,
                pairs[i::threads],
                ground_truth_root,
                prediction_root,
                categories,
            )
            for i in range(threads)
        ]
        for job in jobs:
            total += job.result()
    return total


def _count_part(
    number: int,
    pairs: list[tuple[Any, Any]],
    ground_truth_root: str,
    prediction_root: str,
    categories: dict[int, Any],
) -> Any:
    from panopticapi.evaluation import pq_compute_single_core

    measured = [
        (_with_true_areas(ground_truth, ground_truth_root), found) for ground_truth, found in pairs
    ]
    return pq_compute_single_core(number, measured, ground_truth_root, prediction_root, categories)


def _with_true_areas(annotation: dict[str, Any], root: str) -> dict[str, Any]:
    """A copy of an annotation with the areas of its PNG."""
    ids = read_ids(os.path.join(root, annotation["file_name"]))
    segments = [{**s, "area": int(np.count_nonzero(ids == s["id"]))} for s in _segments(annotation)]
    return {**annotation, "segments_info": segments}


def _segments(annotation: dict[str, Any]) -> list[dict[str, Any]]:
    segments: list[dict[str, Any]] = annotation["segments_info"]
    return segments


def _average(
    statistics: Any, categories: Mapping[int, Mapping[str, Any]], isthing: int | None
) -> dict[str, float]:
    sums = {"pq": 0.0, "sq": 0.0, "rq": 0.0}
    n = 0
    for label, category in categories.items():
        one = statistics[label]
        seen = one.tp + one.fp + one.fn
        if not seen or isthing not in (None, category["isthing"]):
            continue
        n += 1
        weight = one.tp + 0.5 * one.fp + 0.5 * one.fn
        sums["pq"] += one.iou / weight
        sums["rq"] += one.tp / weight
        sums["sq"] += one.iou / one.tp if one.tp else 0.0
    return {**{name: value / n if n else math.nan for name, value in sums.items()}, "n": n}
