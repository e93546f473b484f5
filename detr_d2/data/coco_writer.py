"""Writing COCO-panoptic files: one JSON for the set and one RGB PNG of segment ids for each image.

Every file is written under a temporary name and then renamed, so none is ever half there.
"""

import json
import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detr_d2.data.categories import CategoryTable
from detr_d2.ops.panoptic_ids import compact, id_to_rgb
from detr_d2.utils.files import replacing


def describe_segments(
    id_map: np.ndarray, category_ids: Mapping[int, int], crowd_ids: Collection[int] = ()
) -> list[dict[str, Any]]:
    """Make `segments_info` for an id map, with area and box measured from it.

    Args:
        id_map: (H, W) integers; 0 is void.
        category_ids: data-set category id of every segment id; those absent from the map are
            skipped, as COCO-panoptic wants every listed id in the PNG.
        crowd_ids: segment ids that are crowds.

    Raises:
        ValueError: the map holds an id that `category_ids` does not.
    """
    present, index_map = compact(id_map)
    areas = np.bincount(index_map.ravel(), minlength=len(present)).tolist()
    unknown = sorted(set(present) - set(category_ids) - {0})
    if unknown:
        raise ValueError(f"segment ids {unknown} have no category, known: {sorted(category_ids)}")
    segments = []
    for index, (segment_id, area) in enumerate(zip(present, areas, strict=True)):
        if segment_id == 0:
            continue
        box = cv2.boundingRect((index_map == index).view(np.uint8))
        segments.append(
            {
                "id": segment_id,
                "category_id": int(category_ids[segment_id]),
                "iscrowd": int(segment_id in crowd_ids),
                "area": area,
                "bbox": [int(value) for value in box],
            }
        )
    return segments


def write_id_png(path: str | os.PathLike[str], id_map: np.ndarray) -> None:
    """Write an (H, W) id map as an RGB PNG, under a temporary name first."""
    # Encoded in memory: OpenCV does not say why a file could not be written.
    _, content = cv2.imencode(".png", id_to_rgb(id_map)[..., ::-1])
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content.tobytes())


def write_panoptic_json(
    path: str | os.PathLike[str],
    *,
    images: Iterable[Mapping[str, Any]],
    annotations: Iterable[Mapping[str, Any]],
    categories: CategoryTable,
    description: str = "",
) -> None:
    """Write the JSON of a COCO-panoptic set, under a temporary name first.

    Args:
        path: the file.
        images: `id`, `file_name`, `height`, `width` of each image.
        annotations: `image_id`, `file_name` (the PNG) and `segments_info` with the data set's own
            category ids, as `describe_segments` makes them.
        categories: the set's table.
        description: free text for the file's `info`.
    """
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f'{{"info": {json.dumps({"description": description})}')
        file.write(f', "categories": {json.dumps(categories.to_json())}')
        for name, entries in (("images", images), ("annotations", annotations)):
            file.write(f', "{name}": [')
            # One by one: the entries of a large set need not be in memory together.
            for number, entry in enumerate(entries):
                file.write((",\n" if number else "\n") + json.dumps(entry, allow_nan=False))
            file.write("]")
        file.write("}\n")


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
