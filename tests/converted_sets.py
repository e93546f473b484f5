"""Small sets on disk in every annotation format, made from id maps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detr_d2.conversion.report import ConversionReport
from detr_d2.ops.panoptic_ids import read_ids


def save_image(path: Path, size: tuple[int, int], seed: int = 0, **options: Any) -> None:
    """A random image of (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)


def save_mask(path: Path, values: np.ndarray, **options: Any) -> None:
    """A mask of any integer type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


class Result:
    """A converted folder: id maps, segments by class name, the report."""

    def __init__(self, folder: Path, report: ConversionReport) -> None:
        self.folder, self.report = folder, report
        self.content = json.loads((folder / "panoptic.json").read_text())
        self.names = {c["id"]: c["name"] for c in self.content["categories"]}
        self.images = {image["file_name"]: image for image in self.content["images"]}
        self.by_id = {a["image_id"]: a for a in self.content["annotations"]}

    def segments(self, name: str) -> list[dict[str, Any]]:
        return self.by_id[self.images[name]["id"]]["segments_info"]

    def ids(self, name: str) -> np.ndarray:
        png = self.by_id[self.images[name]["id"]]["file_name"]
        return read_ids(self.folder / "panoptic" / png)

    def masks(self, name: str) -> list[tuple[str, bytes]]:
        """Class and pixels of every segment, sorted: equal for equal partitions."""
        ids = self.ids(name)
        found = [(self.names[s["category_id"]], ids == s["id"]) for s in self.segments(name)]
        return sorted((label, mask.tobytes()) for label, mask in found)

    def labels(self, name: str) -> np.ndarray:
        """Class name of every pixel, "" = void."""
        labels = np.full(self.ids(name).shape, "", object)
        for segment in self.segments(name):
            labels[self.ids(name) == segment["id"]] = self.names[segment["category_id"]]
        return labels
