"""Check a COCO-panoptic set for everything that would surface later as nonsense.

PNGs and images are opened one after the other; the JSON and the findings (a few of each kind) are
what is held in memory.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detr_d2.conversion.splits import near_pairs
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
    """Checks one set; after `run`, `counts` and `hashes` are there for further checks.

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
        yield from self._images_not_listed(images)
        by_id = {image["id"]: image for image in images}
        for annotation in annotations:
            image = by_id.get(annotation["image_id"])
            if image is not None:
                yield from self._image(image)
                yield from self._annotation(annotation, image)
        yield from check_balance(path, self.categories, self.counts)

    def _images_not_listed(self, images: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
        if not os.path.isdir(self.files.image_root):
            return
        listed = {image["file_name"] for image in images}
        for name in files_below(self.files.image_root, IMAGE_SUFFIXES):
            if name not in listed:
                expected = "fine if it belongs to another part"
                yield Finding("note", "image not listed", name, "", "not in the JSON", expected)

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


def find_near_duplicates(
    parts: Mapping[str, Mapping[str, int]], distance: int = 3
) -> Iterator[Finding]:
    """Images of different parts that look alike: what a model has overfitted scores in evaluation.

    Args:
        parts: for every part the perceptual hash (see `image_io.inspect_image`) of every image.
        distance: bits in which the hashes may differ.
    """
    flat = [(part, name, value) for part, hashes in parts.items() for name, value in hashes.items()]
    for i, j in near_pairs([value for _, _, value in flat], distance):
        if flat[i][0] != flat[j][0]:
            found = f"looks like {flat[j][1]} of {flat[j][0]}"
            expected = "both in one part (--group-by)"
            name = f"{flat[i][1]} of {flat[i][0]}"
            yield Finding("warning", "near-duplicate across parts", name, "", found, expected)
