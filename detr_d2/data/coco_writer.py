"""Writing COCO-panoptic files: one JSON for the set and one RGB PNG of segment ids for each image.

Every file is written under a temporary name and then renamed, so none is ever half there.
"""

import json
import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from detr_d2.data.categories import CategoryTable
from detr_d2.data.image_ids import ImageIds
from detr_d2.ops.panoptic_ids import compact, id_to_rgb
from detr_d2.utils.files import read_json, replacing


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
# In the info of a JSON of findings, by which it is told from somebody's ground truth.
FINDINGS = "found by detr_d2"


class PanopticFolder:
    """`panoptic.json` in a folder, and the id PNGs in its `panoptic/`, where panopticapi looks.

    The JSON is written now and then and by `save`, so that a run that was stopped can go on.

    Args:
        root: the folder.
        table: the categories, by whose contiguous ids the segments come.
        resume: keep what an earlier run has noted; else start anew.
        image_ids: the ids and names that the images get; by default hashes of their names.

    Raises:
        ValueError: there is a JSON that holds no findings of a model; it is not replaced.
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
        content = read_json(self.json) if self.json.is_file() else None
        if content is not None and not _are_findings(content):
            raise ValueError(
                f"{self.json} was not written by a model: it may be the ground truth, and is not "
                "replaced; choose another folder"
            )
        if resume and content is not None:
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
            description=FINDINGS,
        )
        self._saved = time.monotonic()


def _are_findings(content: Any) -> bool:
    info = content.get("info") if isinstance(content, dict) else None
    return isinstance(info, dict) and info.get("description") == FINDINGS


def _png_of(file_name: str) -> str:
    return PurePosixPath(file_name).with_suffix(".png").as_posix()
