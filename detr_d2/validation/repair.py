"""Write a repaired copy of a COCO-panoptic set."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detr_d2.conversion.formats.base import Skipped
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import read_panoptic_json
from detr_d2.data.coco_writer import describe_segments, write_id_png, write_panoptic_json
from detr_d2.data.image_io import UnreadableError, inspect_image
from detr_d2.utils.files import path_below
from detr_d2.validation.check import SetFiles
from detr_d2.validation.check_pixels import read_ids
from detr_d2.validation.findings import ANNOTATION, IMAGE, SEGMENT, well_typed


def repair_sets(
    sets: Sequence[SetFiles],
    folder: str | os.PathLike[str],
    progress: Callable[[int, int], None] | None = None,
) -> list[Skipped]:
    """Write `panoptic/` and a JSON for each set to a folder; the images stay where they are.

    Ids, areas and boxes are those of the pixels; a stuff class is one segment; pixels of unknown
    ids or unknown categories become void. A segment of id 0 takes the pixels of value 0 if it has
    as many as its area says. Records without a usable image or PNG are skipped.

    Args:
        sets: several are the parts of one set (train and val), whose JSONs keep their names; that
            of a single one is called `panoptic.json`.
        folder: to be made, or empty.
        progress: called with the number of records done, and of all.

    Returns:
        The skipped records, and why.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: a JSON or its categories are beyond repair.
    """
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty; choose another folder for the copy")
    contents = [read_panoptic_json(files.panoptic_json) for files in sets]
    total = sum(len(content["annotations"]) for content in contents)
    skipped: list[Skipped] = []
    seen: set[tuple[str, Any]] = set()
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for files, content in zip(sets, contents, strict=True):
        single = len(sets) == 1
        name = "panoptic.json" if single else os.path.basename(files.panoptic_json)
        skipped += _repair(files, content, target / name, seen, step)
    return skipped


def _repair(
    files: SetFiles,
    content: Mapping[str, Any],
    target: Path,
    seen: set[tuple[str, Any]],
    step: Callable[[], None],
) -> list[Skipped]:
    """Write the JSON `target` and the PNGs beside it; `seen` grows by what it has written."""
    # Of categories with one id the first counts.
    categories = {repr(c.get("id")): c for c in map(_object, reversed(content["categories"]))}
    table = CategoryTable(list(categories.values())[::-1], files.panoptic_json)
    images = {i["id"]: i for i in reversed(content["images"]) if well_typed(i, IMAGE)}
    skipped: list[Skipped] = []
    entries: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for annotation in map(_object, content["annotations"]):
        name = str(annotation.get("file_name"))
        step()
        try:
            image, ids = _read_record(files, annotation, images)
            own = {(files.panoptic_json, image["id"]), ("png", name)}
            if own & seen:
                raise UnreadableError(f"{name}: an earlier annotation has its image or its PNG")
        except UnreadableError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        seen |= own
        ids, segments = renumber_segments(ids, annotation["segments_info"], table.thing_flags())
        write_id_png(path_below(target.parent / "panoptic", name), ids)
        record = {"image_id": image["id"], "file_name": name, "segments_info": segments}
        entries.append((image, record))
    write_panoptic_json(
        target,
        images=(image for image, _ in entries),
        annotations=(annotation for _, annotation in entries),
        categories=table,
        description=f"repaired copy of {os.path.basename(files.panoptic_json)}",
    )
    return skipped


def _object(entry: Any) -> dict[str, Any]:
    return entry if isinstance(entry, dict) else {}


def _read_record(
    files: SetFiles, annotation: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]]
) -> tuple[dict[str, Any], np.ndarray]:
    """The image entry of an annotation with the image's true size, and the ids (H, W) of its PNG.

    Raises:
        UnreadableError: the entries are malformed, a name leaves its folder, or the files are
            absent, damaged or of different sizes.
    """
    if not well_typed(annotation, ANNOTATION) or annotation["image_id"] not in images:
        raise UnreadableError("malformed, or no image entry of its own")
    image = images[annotation["image_id"]]
    try:
        image_path = path_below(files.image_root, image["file_name"])
        png_path = path_below(files.panoptic_root, annotation["file_name"])
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    height, width = inspect_image(image_path).size
    ids, _ = read_ids(png_path)
    if ids.shape != (height, width):
        raise UnreadableError(f"{ids.shape} pixels, its image has {(height, width)}")
    return {**image, "height": height, "width": width}, ids


def renumber_segments(
    ids: np.ndarray, segments: Sequence[Mapping[str, Any]], things: Mapping[int, bool]
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Number the segments of one image from 1, with what the pixels say.

    Args:
        ids: (H, W) as found.
        segments: as listed.
        things: whether it is a thing, for every known category id.
    """
    renumbered = np.zeros(ids.shape, np.int32)
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
        renumbered[ids == segment["id"]] = number
    return renumbered, describe_segments(renumbered, categories, crowds)


def _usable(
    ids: np.ndarray, segments: Sequence[Mapping[str, Any]], things: Mapping[int, bool]
) -> Iterator[Mapping[str, Any]]:
    seen: set[int] = set()
    for segment in segments:
        if not well_typed(segment, SEGMENT):
            continue
        number = segment["id"]
        if number in seen or segment["category_id"] not in things:
            continue
        seen.add(number)
        if number == 0 and int((ids == 0).sum()) != segment.get("area"):
            continue
        yield segment
