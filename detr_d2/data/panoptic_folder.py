"""A COCO-panoptic set that grows image by image, as predictions are made."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import describe_segments, write_id_png, write_panoptic_json

SECONDS_BETWEEN_SAVES = 30


class PanopticFolder:
    """Id PNGs and `panoptic.json` in one folder.

    The JSON is written now and then and by `save`, so that a run that was stopped can go on.

    Args:
        root: the folder.
        table: the categories, by whose contiguous ids the segments come.
        resume: keep what an earlier run has noted; else start anew.
    """

    def __init__(
        self, root: str | os.PathLike[str], table: CategoryTable, resume: bool = False
    ) -> None:
        self.root = Path(root)
        self.table = table
        self.json = self.root / "panoptic.json"
        self._images: dict[str, dict[str, Any]] = {}
        self._annotations: dict[str, dict[str, Any]] = {}
        if resume and self.json.is_file():
            content = json.loads(self.json.read_text(encoding="utf-8"))
            for image, annotation in zip(content["images"], content["annotations"], strict=True):
                self._images[annotation["file_name"]] = image
                self._annotations[annotation["file_name"]] = annotation
        self._saved = time.monotonic()

    def __contains__(self, png: str) -> bool:
        """Whether the PNG of this name (relative to the folder) is noted."""
        return png in self._annotations

    def add(
        self,
        png: str,
        image: str,
        id_map: np.ndarray,
        segments: Sequence[Mapping[str, Any]],
    ) -> None:
        """Write the PNG of one image and note its segments; what it had before is replaced.

        Args:
            png: name of the PNG, relative to the folder.
            image: name of the image, for `file_name`.
            id_map: (H, W) integers, 0 = nothing.
            segments: `id` and `category_id` (contiguous) of each segment.
        """
        write_id_png(self.root / png, id_map)
        own_ids = {s["id"]: self.table.categories[s["category_id"]].id for s in segments}
        known = self._images.get(png)
        number = known["id"] if known else len(self._images) + 1
        height, width = id_map.shape
        self._images[png] = {"id": number, "file_name": image, "height": height, "width": width}
        self._annotations[png] = {
            "image_id": number,
            "file_name": png,
            "segments_info": describe_segments(id_map, own_ids),
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
