#!/usr/bin/env python
"""Speed of the evaluation against panopticapi, Detectron2 and pycocotools, as JSON.

Synthesizes images of 480x640 with 15 segments in a temporary folder. The two sides of a row take
turns; a row has the seconds of each side (medians), their ratio in each turn (lowest, median,
highest), and the largest difference of the figures.

    python tools/benchmark/evaluation.py [--images 500] [--repeats 5]

"folders" compares two folders of PNGs; "evaluator" takes predictions in memory, as a model gives
them; "pq_compute / evaluator" is the time after (or beside) a model that either way of counting
adds. Average precision is counted by pycocotools and by the fastest backend that is installed.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import detr_d2  # noqa: F401
from detr_d2.evaluation.instances import choose_backend, count_precision
from detr_d2.evaluation.panoptic import PanopticEvaluator
from detr_d2.evaluation.pq import panoptic_quality
from detr_d2.ops.coco_instances import coco_instances
from detr_d2.ops.panoptic_ids import id_to_rgb

import cv2
import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator
from panopticapi.evaluation import pq_compute
from PIL import Image
from pycocotools.coco import COCO

HEIGHT, WIDTH, SEGMENTS, CLASSES, SCALE = 480, 640, 15, 20, 4
CATEGORIES = [{"id": 3 * i + 1, "name": f"class {i}", "isthing": i % 2} for i in range(CLASSES)]
THINGS = {c["id"]: c["id"] for c in CATEGORIES if c["isthing"]}
NAME = "benchmark_evaluation"
ENDINGS = {"All": "", "Things": "_th", "Stuff": "_st"}
Side = Callable[[], dict[str, float]]


def synthesize(root: Path, count: int) -> list[np.ndarray]:
    """Write ground truth and predictions in COCO-panoptic format.

    Returns:
        The predicted maps (H, W) uint8.
    """
    rng = np.random.default_rng(0)
    maps: list[np.ndarray] = []
    sides: dict[str, list[dict[str, Any]]] = {"ground_truth": [], "found": []}
    rows, columns = np.mgrid[: HEIGHT // SCALE, : WIDTH // SCALE]
    for name in sides:
        (root / name).mkdir()
    for image_id in range(count):
        centers = rng.uniform(0, (HEIGHT / SCALE, WIDTH / SCALE), (SEGMENTS, 2))
        distances = np.hypot(rows[..., None] - centers[:, 0], columns[..., None] - centers[:, 1])
        nearest = distances.argmin(-1).astype(np.uint8)
        labels = cv2.resize(nearest, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        colors = rng.choice(2**24 - 1, SEGMENTS, replace=False) + 1
        ids = colors[labels]
        ids[:10] = 0
        maps.append(np.roll(labels, rng.integers(-20, 21, 2), (0, 1)) + 1)
        classes = rng.integers(0, CLASSES, SEGMENTS)
        guesses = np.where(rng.random(SEGMENTS) < 0.2, 0, classes)
        for name, values, chosen in (
            ("ground_truth", ids, dict(zip(colors.tolist(), classes.tolist(), strict=True))),
            ("found", maps[-1], dict(enumerate(guesses.tolist(), start=1))),
        ):
            segments = [
                {"id": int(value), "category_id": CATEGORIES[chosen[value]]["id"]}
                for value in np.unique(values).tolist()
                if value
            ]
            for segment in segments:
                crowd = name == "ground_truth" and rng.random() < 0.05
                segment |= {"iscrowd": int(crowd), "area": int((values == segment["id"]).sum())}
            Image.fromarray(id_to_rgb(values.astype(np.int32))).save(
                root / name / f"{image_id}.png"
            )
            entry = {"image_id": image_id, "file_name": f"{image_id}.png"}
            sides[name].append({**entry, "segments_info": segments})
    images = [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(count)]
    for name, annotations in sides.items():
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        (root / f"{name}.json").write_text(json.dumps(content))
    return maps


def panoptic_sides(root: Path, maps: list[np.ndarray]) -> dict[str, Side]:
    """PQ of things and stuff by all ways of counting it."""
    content = json.loads((root / "ground_truth.json").read_text())
    found = json.loads((root / "found.json").read_text())["annotations"]
    folders = str(root / "ground_truth"), str(root / "found")

    def theirs() -> dict[str, float]:
        jsons = str(root / "ground_truth.json"), str(root / "found.json")
        with contextlib.redirect_stdout(io.StringIO()):
            figures = pq_compute(*jsons, *folders)
        return {group: figures[group]["pq"] for group in ("All", "Things", "Stuff")}

    def ours() -> dict[str, float]:
        average = panoptic_quality(content, found, *folders).average(CATEGORIES)
        return {group: average[group]["pq"] for group in ("All", "Things", "Stuff")}

    def evaluate(kind: type) -> dict[str, float]:
        evaluator = kind(NAME, str(root / "output"))
        evaluator.reset()
        for entry, ids in zip(found, maps, strict=True):
            output = torch.from_numpy(ids.astype(np.int32))
            segments = [dict(segment) for segment in entry["segments_info"]]
            evaluator.process([entry], [{"panoptic_seg": (output, segments)}])
        figures = evaluator.evaluate()["panoptic_seg"]
        return {group: figures[f"PQ{end}"] / 100 for group, end in ENDINGS.items()}

    return {
        "pq_compute": theirs,
        "folders": ours,
        "detectron2": lambda: evaluate(COCOPanopticEvaluator),
        "evaluator": lambda: evaluate(PanopticEvaluator),
    }


def precision_sides(root: Path, maps: list[np.ndarray], task: str) -> dict[str, Side]:
    """The twelve figures of COCO by pycocotools and by the fastest backend."""
    content = json.loads((root / "ground_truth.json").read_text())
    found = json.loads((root / "found.json").read_text())["annotations"]
    rng = np.random.default_rng(1)
    reference = COCO()
    reference.dataset = {**content, "annotations": []}
    results: list[dict[str, Any]] = []
    for annotation, entry, ids in zip(content["annotations"], found, maps, strict=True):
        png = cv2.imread(str(root / "ground_truth" / annotation["file_name"]))[..., ::-1]
        true_ids = png.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
        place = {"image_id": annotation["image_id"]}
        for instance in coco_instances(
            true_ids, annotation["segments_info"], THINGS, polygons=False
        ):
            number = len(reference.dataset["annotations"]) + 1
            reference.dataset["annotations"].append({**instance, **place, "id": number})
        for instance in coco_instances(ids, entry["segments_info"], THINGS, polygons=False):
            results.append({**instance, **place, "score": float(rng.random())})
    with contextlib.redirect_stdout(io.StringIO()):
        reference.createIndex()

    def count(backend: Any) -> dict[str, float]:
        stats = count_precision(reference, results, task, backend).stats
        return {str(place): float(value) for place, value in enumerate(stats)}

    return {
        "pycocotools": lambda: count("pycocotools"),
        "fastest": lambda: count(choose_backend()),
    }


def compare(
    sides: dict[str, Side], pairs: list[tuple[str, str]], repeats: int
) -> dict[str, dict[str, Any]]:
    """Run the sides in turns, after one run of each that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    figures: dict[str, dict[str, float]] = {}
    for turn in range(repeats + 1):
        for name, side in sides.items():
            start = time.perf_counter()
            figures[name] = side()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    report = {}
    for slow, fast in pairs:
        ratios = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
        spread = min(ratios), statistics.median(ratios), max(ratios)
        expected, counted = figures[slow], figures[fast]
        report[f"{slow} / {fast}"] = {
            "seconds": [round(statistics.median(seconds[name]), 3) for name in (slow, fast)],
            "ratio": [round(value, 2) for value in spread],
            "difference": max(abs(expected[key] - counted[key]) for key in expected),
        }
    return report


def main() -> None:
    """Measure all rows and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5, help="timed runs after one warm-up")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    report: dict[str, Any] = {
        "images": args.images,
        "size": [HEIGHT, WIDTH],
        "segments": SEGMENTS,
        "cores": os.cpu_count(),
        "backend": choose_backend(),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        maps = synthesize(root, args.images)
        MetadataCatalog.get(NAME).set(
            panoptic_json=str(root / "ground_truth.json"),
            panoptic_root=str(root / "ground_truth"),
            thing_dataset_id_to_contiguous_id={},
            stuff_dataset_id_to_contiguous_id={},
        )
        pairs = [
            ("pq_compute", "folders"),
            ("pq_compute", "evaluator"),
            ("detectron2", "evaluator"),
        ]
        report["PQ"] = compare(panoptic_sides(root, maps), pairs, args.repeats)
        for name, task in (("box AP", "bbox"), ("mask AP", "segm")):
            sides = precision_sides(root, maps, task)
            report[name] = compare(sides, [("pycocotools", "fastest")], args.repeats)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
