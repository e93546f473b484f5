"""Writing a corrected copy of a COCO-panoptic set."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detr_d2.conversion.formats.base import Skipped, joined
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import read_panoptic_json
from detr_d2.data.coco_writer import describe_segments, write_id_png, write_panoptic_json
from detr_d2.data.image_io import UnreadableError, look_at_image
from detr_d2.validation.check import SetFiles
from detr_d2.validation.check_pixels import read_ids


def mend_set(files: SetFiles, folder: str | os.PathLike[str]) -> list[Skipped]:
    """Write `panoptic/` and `panoptic.json` to a folder; the images stay where they are.

    Ids, areas and boxes are those of the pixels; a stuff class is one segment; pixels of unknown
    ids or unknown categories become void. A segment of id 0 takes the pixels of value 0 if it has
    as many as its area says. Records without a usable image or PNG are skipped.

    Returns:
        What was skipped, and why.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: the JSON or its categories are beyond repair.
    """
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty; choose another folder for the copy")
    content = read_panoptic_json(files.panoptic_json)
    # Of categories with one id the first counts.
    categories = {c.get("id"): c for c in reversed(content["categories"])}
    table = CategoryTable(list(categories.values())[::-1], files.panoptic_json)
    things = table.thing_flags()
    images = {image.get("id"): image for image in reversed(content["images"])}
    skipped: list[Skipped] = []
    entries: list[tuple[dict[str, Any], dict[str, Any]]] = []
    seen: set[Any] = set()
    for annotation in content["annotations"]:
        image = images.get(annotation.get("image_id"))
        name = str(annotation.get("file_name"))
        try:
            if image is None or annotation["image_id"] in seen:
                raise UnreadableError("no image entry of its own")
            facts = look_at_image(joined(files.image_root, str(image.get("file_name"))))
            ids, _ = read_ids(joined(files.panoptic_root, name))
            if ids.shape != facts.size:
                raise UnreadableError(f"{ids.shape} pixels, its image has {facts.size}")
        except UnreadableError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        seen.add(annotation["image_id"])
        ids, segments = mend_segments(ids, annotation.get("segments_info") or [], things)
        write_id_png(target / "panoptic" / name, ids)
        height, width = facts.size
        entries.append(
            (
                {**image, "height": height, "width": width},
                {"image_id": annotation["image_id"], "file_name": name, "segments_info": segments},
            )
        )
    write_panoptic_json(
        target / "panoptic.json",
        images=(image for image, _ in entries),
        annotations=(annotation for _, annotation in entries),
        categories=table,
        description=f"corrected copy of {os.path.basename(files.panoptic_json)}",
    )
    return skipped


def mend_segments(
    ids: np.ndarray, segments: Sequence[Mapping[str, Any]], things: Mapping[int, bool]
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Number the segments of one image from 1, with what the pixels say.

    Args:
        ids: (H, W) as found.
        segments: as listed.
        things: whether it is a thing, for every known category id.
    """
    mended = np.zeros(ids.shape, np.int32)
    categories: dict[int, int] = {}
    crowds: set[int] = set()
    stuff: dict[int, int] = {}
    for segment in _usable(ids, segments, things):
        category = segment["category_id"]
        number = stuff.get(category, len(categories) + 1)
        if not things[category]:
            stuff[category] = number
        elif segment.get("iscrowd"):
            crowds.add(number)
        categories[number] = category
        mended[ids == segment["id"]] = number
    return mended, describe_segments(mended, categories, crowds)


def _usable(
    ids: np.ndarray, segments: Sequence[Mapping[str, Any]], things: Mapping[int, bool]
) -> Iterator[Mapping[str, Any]]:
    seen: set[int] = set()
    for segment in segments:
        number = segment.get("id")
        if (
            not isinstance(number, int)
            or number in seen
            or segment.get("category_id") not in things
        ):
            continue
        seen.add(number)
        if number == 0 and int((ids == 0).sum()) != segment.get("area"):
            continue
        yield segment
