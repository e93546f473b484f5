"""A COCO-panoptic set that grows image by image, as predictions are made."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import describe_segments, write_id_png, write_panoptic_json
from detr_d2.data.image_ids import ImageIds

SECONDS_BETWEEN_SAVES = 30


class PanopticFolder:
    """`panoptic.json` in a folder, and the id PNGs in its `panoptic/`, where panopticapi looks.

    The JSON is written now and then and by `save`, so that a run that was stopped can go on.

    Args:
        root: the folder.
        table: the categories, by whose contiguous ids the segments come.
        resume: keep what an earlier run has noted; else start anew.
        image_ids: the ids and names that the images get; by default hashes of their names.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        table: CategoryTable,
        resume: bool = False,
        image_ids: ImageIds | None = None,
    ) -> None:
        self.root = Path(root)
        self.table = table
        self.image_ids = image_ids or ImageIds()
        self.json = self.root / "panoptic.json"
        self.pngs = self.root / "panoptic"
        self._images: dict[str, dict[str, Any]] = {}
        self._annotations: dict[str, dict[str, Any]] = {}
        if resume and self.json.is_file():
            content = json.loads(self.json.read_text(encoding="utf-8"))
            for image, annotation in zip(content["images"], content["annotations"], strict=True):
                self._images[annotation["file_name"]] = image
                self._annotations[annotation["file_name"]] = annotation
        self._saved = time.monotonic()

    def __contains__(self, image: str) -> bool:
        """Whether the image of this name is noted, and its PNG is there."""
        path = self.png(image)
        return path.relative_to(self.pngs).as_posix() in self._annotations and path.is_file()

    def png(self, image: str) -> Path:
        """Path of the PNG of the image of this name."""
        return self.pngs / _png_of(self.image_ids(image).file_name)

    def add(self, image: str, id_map: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> None:
        """Write the PNG of one image and note its segments; what it had before is replaced.

        Args:
            image: its name, for which `image_ids` has the id and `file_name`.
            id_map: (H, W) integers, 0 = nothing.
            segments: `id`, `category_id` (contiguous) and maybe `score` (0..1) of each segment.

        Raises:
            ValueError: `image_ids` does not know the image.
        """
        entry = self.image_ids(image)
        png = _png_of(entry.file_name)
        write_id_png(self.pngs / png, id_map)
        own_ids = {s["id"]: self.table.categories[s["category_id"]].id for s in segments}
        scores = {s["id"]: round(float(s["score"]), 4) for s in segments if "score" in s}
        described = describe_segments(id_map, own_ids)
        for segment in described:
            if segment["id"] in scores:
                segment["score"] = scores[segment["id"]]
        height, width = id_map.shape
        self._images[png] = {**asdict(entry), "height": height, "width": width}
        self._annotations[png] = {
            "image_id": entry.id,
            "file_name": png,
            "segments_info": described,
        }
        if time.monotonic() - self._saved > SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write `panoptic.json` with every image so far."""
        write_panoptic_json(
            self.json,
            images=self._images.values(),
            annotations=self._annotations.values(),
            categories=self.table,
        )
        self._saved = time.monotonic()


def _png_of(file_name: str) -> str:
    return PurePosixPath(file_name).with_suffix(".png").as_posix()
