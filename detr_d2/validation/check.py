"""Checking a COCO-panoptic set: everything that would surface later as nonsense.

PNGs and images are opened one after the other; the JSON and the findings (a few of each kind) are
what is held in memory.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detr_d2.conversion.formats.base import joined
from detr_d2.conversion.splits import near_pairs
from detr_d2.data.coco_lists import LISTS, missing_lists
from detr_d2.data.image_io import IMAGE_SUFFIXES, files_below
from detr_d2.utils.files import read_json
from detr_d2.validation.check_json import (
    check_balance,
    check_base_names,
    check_categories,
    check_pairs,
    check_segments,
    is_sound_category,
)
from detr_d2.validation.check_pixels import check_image, check_png
from detr_d2.validation.findings import Finding


@dataclass
class SetFiles:
    """Where a set lies."""

    panoptic_json: str
    image_root: str
    panoptic_root: str


class Checker:
    """Checks one set; after `run` it has counted segments and looks for further checks.

    Args:
        files: the set.
        queries: the largest number of segments that the model can find in an image.
        tiny: segments of fewer pixels are told.
    """

    def __init__(self, files: SetFiles, queries: int = 100, tiny: int = 5) -> None:
        self.files = files
        self.queries = queries
        self.tiny = tiny
        self.looks: dict[str, int] = {}
        self.counts: Counter[int] = Counter()
        self.categories: dict[int, Mapping[str, Any]] = {}
        self.total = 0

    def run(self) -> Iterator[Finding]:
        """All findings, as they come."""
        path = self.files.panoptic_json
        try:
            content = read_json(path)
        except (OSError, ValueError) as error:
            yield Finding("error", "unreadable JSON", path, "", str(error), "mend the file")
            return
        if missing := missing_lists(content):
            found = f"no list {', '.join(missing)}"
            yield Finding("error", "no COCO-panoptic", path, "", found, f"it needs {LISTS}")
            return
        self.total = len(content["annotations"])
        images, categories = content["images"], content["categories"]
        yield from check_categories(path, categories)
        self.categories = {c["id"]: c for c in categories if is_sound_category(c)}
        yield from check_pairs(path, images, content["annotations"])
        yield from check_base_names(images)
        yield from self._images_not_listed(images)
        by_id = {image.get("id"): image for image in images}
        for annotation in content["annotations"]:
            image = by_id.get(annotation.get("image_id"))
            if image is not None:
                yield from self._image(image)
                yield from self._annotation(annotation, image)
        yield from check_balance(path, self.categories, self.counts)

    def _images_not_listed(self, images: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
        if not os.path.isdir(self.files.image_root):
            return
        listed = {str(image.get("file_name")) for image in images}
        for name in files_below(self.files.image_root, IMAGE_SUFFIXES):
            if name not in listed:
                right = "fine if it belongs to another part"
                yield Finding("note", "image not listed", name, "", "not in the JSON", right)

    def _image(self, image: Mapping[str, Any]) -> Iterator[Finding]:
        name = str(image.get("file_name"))
        findings, look = check_image(joined(self.files.image_root, name), image)
        if look is not None:
            self.looks[name] = look
        yield from findings

    def _annotation(
        self, annotation: Mapping[str, Any], image: Mapping[str, Any]
    ) -> Iterator[Finding]:
        path = joined(self.files.panoptic_root, str(annotation.get("file_name")))
        segments = annotation.get("segments_info")
        if not isinstance(segments, list):
            yield Finding("error", "no segments_info", path, "", "no list", "a list of segments")
            return
        known = [s["category_id"] for s in segments if s.get("category_id") in self.categories]
        self.counts.update(known)
        yield from check_segments(path, segments, self.categories, self.queries)
        yield from check_png(path, image, segments, self.tiny)


def find_near_duplicates(
    parts: Mapping[str, Mapping[str, int]], distance: int = 3
) -> Iterator[Finding]:
    """Images of different parts that look alike: what is learnt by heart scores in evaluation.

    Args:
        parts: for every part the look (see `mask_files.look_at_image`) of every image.
        distance: bits in which the looks may differ.
    """
    flat = [(part, name, look) for part, looks in parts.items() for name, look in looks.items()]
    for i, j in near_pairs([look for _, _, look in flat], distance):
        if flat[i][0] != flat[j][0]:
            found = f"looks like {flat[j][1]} of {flat[j][0]}"
            right = "both in one part (--group-by)"
            name = f"{flat[i][1]} of {flat[i][0]}"
            yield Finding("warning", "near-duplicate across parts", name, "", found, right)
