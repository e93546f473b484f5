"""How far the exported files agree with PyTorch, run as a user runs them: by `run_onnx.py`."""

import math
import os
import runpy
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from detr_d2.engine import Predictor
from detr_d2.engine.predictor import panoptic_map
from detr_d2.evaluation.pq import PanopticGroundTruth
from detr_d2.evaluation.pq_counts import PanopticCounts, PanopticMap, count_image
from detr_d2.export.graphs import DetectionGraph, MaskGraph

RUNNER = "run_onnx.py"
# Queries whose masks are compared where no query is kept.
BEST = 10


@dataclass
class Parity:
    """What was compared, summed over images; `report` makes `parity.json` of it."""

    categories: list[dict[str, Any]]
    differences: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"pytorch": [], "onnx": []})
    segments: dict[str, int] = field(default_factory=lambda: {"pytorch": 0, "onnx": 0})
    pixels: int = 0
    equal_pixels: int = 0
    onnx_against_pytorch: PanopticCounts = field(default_factory=PanopticCounts)
    pytorch_against_onnx: PanopticCounts = field(default_factory=PanopticCounts)
    # Against the ground truth, where there is one.
    on_ground_truth: dict[str, PanopticCounts] = field(default_factory=dict)

    def note_difference(self, name: str, a: np.ndarray, b: np.ndarray) -> None:
        """Keep the largest absolute difference of two arrays of one shape."""
        found = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))
        self.differences[name] = max(found, self.differences.get(name, 0.0))

    def note_maps(self, pytorch: PanopticMap, onnx: PanopticMap, name: str) -> None:
        """Compare the panoptic maps of an image, whose segments have the data set's categories."""
        self.pixels += pytorch.ids.size
        self.equal_pixels += int((pytorch.ids == onnx.ids).sum())
        self.segments["pytorch"] += len(pytorch.segments)
        self.segments["onnx"] += len(onnx.segments)
        known = {category["id"] for category in self.categories}
        self.onnx_against_pytorch.update(count_image(pytorch, onnx, known, name))
        self.pytorch_against_onnx.update(count_image(onnx, pytorch, known, name))

    def pq(self, counts: PanopticCounts) -> float | None:
        """PQ in percent; None where there is no segment at all."""
        value = counts.average(self.categories)["All"]["pq"]
        return None if math.isnan(value) else 100.0 * value

    def report(self) -> dict[str, Any]:
        """Return the content of `parity.json`; medians of the seconds an image."""
        return {
            "images": len(self.seconds["onnx"]),
            "largest_differences": self.differences,
            "share_of_equal_pixels": self.equal_pixels / max(self.pixels, 1),
            "segments": self.segments,
            "pq_of_onnx_against_pytorch": self.pq(self.onnx_against_pytorch),
            "pq_of_pytorch_against_onnx": self.pq(self.pytorch_against_onnx),
            "pq_on_ground_truth": {name: self.pq(c) for name, c in self.on_ground_truth.items()}
            or None,
            "seconds_per_image": {k: float(np.median(v)) for k, v in self.seconds.items()},
            "torch_threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }


def measure_parity(
    predictor: Predictor,
    folder: str | os.PathLike[str],
    images: Iterable[tuple[str, np.ndarray]],
    ground_truth: PanopticGroundTruth | None = None,
) -> Parity:
    """Run PyTorch and the files of a folder on the same images, in turns.

    Args:
        predictor: the model in PyTorch.
        folder: with detect.onnx, masks.onnx, categories.json and run_onnx.py.
        images: names, and images (H, W, 3) uint8 RGB, upright.
        ground_truth: of these images, in which the stem of each name is found; None if unknown.
    """
    runner = runpy.run_path(os.fspath(Path(folder, RUNNER)))["PanopticModel"](folder)
    parity = Parity(runner.categories)
    numbers: dict[str, Any] = {}
    if ground_truth is not None:
        parity.on_ground_truth = {"pytorch": PanopticCounts(), "onnx": PanopticCounts()}
        numbers = {Path(x["file_name"]).stem: x["id"] for x in ground_truth.content["images"]}
    detect = DetectionGraph(predictor.model, predictor.reverse).eval()
    for name, rgb in tqdm(images, "parity", unit=" images", disable=None):
        image = Image.fromarray(rgb)
        _compare_outputs(parity, detect, runner, image)
        started = time.perf_counter()
        pytorch_ids, segments = panoptic_map(predictor(rgb))
        middle = time.perf_counter()
        onnx_ids, found = runner(image)
        parity.seconds["pytorch"].append(middle - started)
        parity.seconds["onnx"].append(time.perf_counter() - middle)
        own = [parity.categories[s["category_id"]]["id"] for s in segments]
        entries = [
            {"id": s["id"], "category_id": own_id} for s, own_id in zip(segments, own, strict=True)
        ]
        maps = {"pytorch": PanopticMap(pytorch_ids, entries), "onnx": PanopticMap(onnx_ids, found)}
        parity.note_maps(maps["pytorch"], maps["onnx"], name)
        if ground_truth is not None:
            for side, one in maps.items():
                counts = ground_truth.count(numbers[Path(name).stem], one.ids, one.segments)
                parity.on_ground_truth[side].update(counts)
    return parity


@torch.no_grad()
def _compare_outputs(
    parity: Parity, detect: DetectionGraph, runner: Any, image: Image.Image
) -> None:
    """Note the differences of the tensors, of the kept queries or the best ones."""
    pixels = runner.resized(image)
    expected = dict(zip(detect.names(), detect(torch.from_numpy(pixels.copy())), strict=True))
    found = _run(runner.detect, {"image": pixels})
    for name in ("scores", "boxes", "classes", "embeddings", "encoded_image"):
        parity.note_difference(name, expected[name].numpy(), found[name])
    scores = expected["scores"]
    keep = expected["is_object"] & (scores > runner.settings["score_thresh"])
    rows = keep.nonzero()[:, 0] if keep.any() else scores.topk(min(BEST, len(scores))).indices
    features = [value for name, value in expected.items() if name.startswith("feature_")]
    inputs = (expected["embeddings"][rows], expected["encoded_image"], expected["projected"])
    masks = MaskGraph(detect.model)(*inputs, features)
    wanted = {value.name for value in runner.masks.get_inputs()}
    arrays = {name: value for name, value in found.items() if name in wanted}
    arrays["embeddings"] = found["embeddings"][rows.numpy()]
    arrays["kept_classes"] = found["classes"][rows.numpy()]
    arrays["kept_is_thing"] = found["is_thing"][rows.numpy()]
    arrays["output_size"], arrays["min_area"] = np.array(pixels.shape[:2]), np.array([0])
    parity.note_difference("masks", masks.numpy(), _run(runner.masks, arrays)["masks"])


def _run(session: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def noise_images(seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """Return five coarse random images: landscape, portrait, odd, small and large."""
    generator = np.random.default_rng(seed)
    images = []
    for height, width in ((480, 640), (640, 427), (375, 501), (64, 90), (900, 1200)):
        coarse = generator.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        images.append((f"noise {width} x {height}", np.asarray(image)))
    return images
