"""Check a COCO-panoptic set for everything that would surface later as nonsense.

PNGs and images are opened one after the other; the JSON and the findings (a few of each kind) are
what is held in memory.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detr_d2.conversion.near_duplicates import near_later
from detr_d2.data.categories import category_faults
from detr_d2.data.coco_panoptic import LISTS, missing_lists
from detr_d2.data.image_io import IMAGE_SUFFIXES, files_below
from detr_d2.utils.files import path_below, read_json
from detr_d2.validation.check_json import (
    check_balance,
    check_base_names,
    check_categories,
    check_pairs,
    check_segments,
)
from detr_d2.validation.check_pixels import check_image, check_png
from detr_d2.validation.findings import ANNOTATION, IMAGE, SEGMENT, Finding, check_types, well_typed


@dataclass
class SetFiles:
    """Where a set lies."""

    panoptic_json: str
    image_root: str
    panoptic_root: str


class Checker:
    """Checks one set; after `run` its attributes are there for further checks.

    `counts` has the segments of each category id, `hashes` the perceptual hash of each image,
    `listed` the names of all images in the JSON.

    Args:
        files: the set.
        queries: the largest number of segments that the model can find in an image.
        tiny: segments of fewer pixels are reported.
    """

    def __init__(self, files: SetFiles, queries: int = 100, tiny: int = 5) -> None:
        self.files = files
        self.queries = queries
        self.tiny = tiny
        self.hashes: dict[str, int] = {}
        self.listed: set[str] = set()
        self.counts: Counter[int] = Counter()
        self.categories: dict[int, Mapping[str, Any]] = {}
        self.total = 0

    def run(self) -> Iterator[Finding]:
        """All findings, as they come."""
        path = self.files.panoptic_json
        try:
            content = read_json(path)
        except (OSError, ValueError) as error:
            yield Finding("error", "unreadable JSON", path, "", str(error), "repair the file")
            return
        if missing := missing_lists(content):
            found = f"no list {', '.join(missing)}"
            yield Finding("error", "no COCO-panoptic", path, "", found, f"it needs {LISTS}")
            return
        self.total = len(content["annotations"])
        if not self.total:
            yield Finding("error", "no annotations", path, "", "the list is empty", "one or more")
        yield from check_types(path, "image", content["images"], IMAGE)
        yield from check_types(path, "annotation", content["annotations"], ANNOTATION)
        images = [entry for entry in content["images"] if well_typed(entry, IMAGE)]
        annotations = [entry for entry in content["annotations"] if well_typed(entry, ANNOTATION)]
        yield from check_categories(path, content["categories"])
        self.categories = {c["id"]: c for c in content["categories"] if not category_faults(0, c)}
        yield from check_pairs(path, images, annotations)
        yield from check_base_names(images)
        self.listed = {image["file_name"] for image in images}
        by_id = {image["id"]: image for image in images}
        for annotation in annotations:
            image = by_id.get(annotation["image_id"])
            if image is not None:
                yield from self._image(image)
                yield from self._annotation(annotation, image)
        yield from check_balance(path, self.categories, self.counts)

    def _image(self, image: Mapping[str, Any]) -> Iterator[Finding]:
        name = image["file_name"]
        try:
            path = path_below(self.files.image_root, name)
        except ValueError as error:
            yield Finding(
                "error", "path leaves the folder", name, "", str(error), "a name below it"
            )
            return
        findings, image_hash = check_image(path, image)
        if image_hash is not None:
            self.hashes[name] = image_hash
        yield from findings

    def _annotation(
        self, annotation: Mapping[str, Any], image: Mapping[str, Any]
    ) -> Iterator[Finding]:
        name = annotation["file_name"]
        try:
            path = path_below(self.files.panoptic_root, name)
        except ValueError as error:
            yield Finding(
                "error", "path leaves the folder", name, "", str(error), "a name below it"
            )
            return
        listed = annotation["segments_info"]
        yield from check_types(path, "segment", listed, SEGMENT)
        segments = [segment for segment in listed if well_typed(segment, SEGMENT)]
        known = [s["category_id"] for s in segments if s.get("category_id") in self.categories]
        self.counts.update(known)
        yield from check_segments(path, segments, self.categories, self.queries)
        yield from check_png(path, image, segments, self.tiny)


def check_together(checkers: Sequence[Checker]) -> Iterator[Finding]:
    """Check what only all sets together show, after each has run.

    Sets with the same images are parts of one: they must have the same categories, and an image is
    reported if none of them lists it.
    """
    roots: dict[str, list[Checker]] = {}
    for checker in checkers:
        roots.setdefault(os.path.abspath(checker.files.image_root), []).append(checker)
    for root, group in roots.items():
        # One that could not be read has been reported.
        parts = [checker for checker in group if checker.categories]
        if not parts:
            continue
        first = _classes(parts[0])
        for part in parts[1:]:
            if (classes := _classes(part)) != first:
                expected = f"{sorted(first)}, as in {parts[0].files.panoptic_json}"
                path = part.files.panoptic_json
                yield Finding("error", "other categories", path, "", f"{sorted(classes)}", expected)
        listed = set().union(*(part.listed for part in parts))
        complete = len(parts) == len(group) and os.path.isdir(root)
        for name in files_below(root, IMAGE_SUFFIXES) if complete else ():
            if name not in listed:
                of = " or ".join(os.path.basename(part.files.panoptic_json) for part in parts)
                expected = "fine if it belongs to another part"
                yield Finding("note", "image not listed", name, "", f"not in {of}", expected)
    if len(checkers) > 1:
        yield from find_near_duplicates({c.files.panoptic_json: c.hashes for c in checkers})


def _classes(checker: Checker) -> set[tuple[int, str, bool]]:
    return {(i, c["name"], bool(c["isthing"])) for i, c in checker.categories.items()}


def find_near_duplicates(
    parts: Mapping[str, Mapping[str, int]], distance: int = 3
) -> Iterator[Finding]:
    """Images of different parts that look alike: what a model has overfitted scores in evaluation.

    An image has one finding, with the first of the later images that it resembles.

    Args:
        parts: for every part the perceptual hash (see `image_io.inspect_image`) of every image.
        distance: bits in which the hashes may differ.
    """
    flat = [(part, name, value) for part, hashes in parts.items() for name, value in hashes.items()]
    numbers = np.array([list(parts).index(part) for part, _, _ in flat])
    for start, near in near_later([value for _, _, value in flat], distance):
        near &= numbers[start : start + len(near), None] != numbers[None, start:]
        for row in np.flatnonzero(near.any(axis=1)):
            part, name, _ = flat[start + row]
            other_part, other, _ = flat[start + near[row].argmax()]
            more = int(near[row].sum()) - 1
            found = f"looks like {other} of {other_part}" + (f" and {more} more" if more else "")
            expected = "both in one part (--group-by)"
            yield Finding(
                "warning", "near-duplicate across parts", f"{name} of {part}", "", found, expected
            )
