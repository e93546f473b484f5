"""Checks of a COCO-panoptic set that its JSON alone shows."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detr_d2.data.categories import category_faults
from detr_d2.validation.findings import Finding

Entry = Mapping[str, Any]
# A class with less than this part of the most frequent class' segments is called rare.
RARE = 0.01


def check_categories(path: str, categories: Sequence[Any]) -> Iterator[Finding]:
    """Entries that loading rejects, and ids and names that occur twice."""
    if not categories:
        yield Finding("error", "no categories", path, "", "the list is empty", "a category or more")
    for number, category in enumerate(categories):
        for fault in category_faults(number, category):
            yield Finding("error", "faulty category", path, "", fault, "see CategoryTable")
    sound = [c for c in categories if not category_faults(0, c)]
    for what, severity in (("id", "error"), ("name", "warning")):
        for value, count in Counter(c[what] for c in sound).items():
            if count > 1:
                found = f"{count} categories have the {what} {value!r}"
                expected = f"every category has a {what} of its own"
                yield Finding(severity, f"duplicate category {what}", path, "", found, expected)


def check_pairs(
    path: str, images: Sequence[Entry], annotations: Sequence[Entry]
) -> Iterator[Finding]:
    """Images and records that do not belong together one to one."""
    ids = Counter(image.get("id") for image in images)
    annotated = Counter(annotation.get("image_id") for annotation in annotations)
    for counter, what in ((ids, "images have the id"), (annotated, "annotations have image_id")):
        for value, count in counter.items():
            if count > 1:
                found = f"{count} {what} {value!r}"
                yield Finding("error", "duplicate image", path, "", found, "one of each")
    for image in images:
        if image.get("id") not in annotated:
            name = str(image.get("file_name"))
            expected = "an annotation, with an empty segments_info if there is nothing"
            yield Finding("error", "image without record", name, "", "no annotation", expected)
    for annotation in annotations:
        if annotation.get("image_id") not in ids:
            name = str(annotation.get("file_name"))
            found = f"image_id {annotation.get('image_id')!r} is not among the images"
            yield Finding("error", "record without image", name, "", found, "an image entry")


def check_base_names(images: Sequence[Entry]) -> Iterator[Finding]:
    """Images that evaluators, which go by the base name, would take for one."""
    stems: dict[str, str] = {}
    for image in images:
        name = str(image.get("file_name"))
        stem = os.path.splitext(os.path.basename(name))[0]
        if stem in stems:
            found, expected = f"same base name as {stems[stem]}", "base names are unique"
            yield Finding("error", "same base name", name, "", found, expected)
        stems[stem] = name


def check_segments(
    path: str, segments: Sequence[Entry], categories: Mapping[int, Entry], queries: int
) -> Iterator[Finding]:
    """The list of one image: ids, categories, stuff in pieces, and how many there are.

    Args:
        path: the image's PNG, to be named.
        segments: its `segments_info`.
        categories: the sound ones, by id.
        queries: the largest number of segments that the model can find in an image.
    """
    stuff: Counter[int] = Counter()
    for segment in segments:
        number = segment.get("id")
        category: Any = segment.get("category_id")
        if number is None or number < 1:
            expected = "ids count from 1; 0 is void"
            yield Finding("error", "segment id 0", path, f"segment {number}", "its id", expected)
        if category not in categories:
            found = f"category_id {category!r}"
            expected = f"one of {sorted(categories)[:12]}"
            yield Finding("error", "unknown category", path, f"segment {number}", found, expected)
            continue
        if not categories[category]["isthing"] and not segment.get("iscrowd"):
            stuff[category] += 1
    for number, count in Counter(segment.get("id") for segment in segments).items():
        if count > 1:
            item, expected = f"segment {number}", "every id once"
            yield Finding("error", "duplicate segment id", path, item, f"{count} times", expected)
    for category, count in stuff.items():
        if count > 1:
            found = f"stuff {categories[category]['name']!r} has {count} segments"
            expected = "one segment a class of stuff"
            yield Finding("error", "stuff in several segments", path, "", found, expected)
    if not segments:
        expected = "fine if there is nothing; training skips it"
        yield Finding("note", "no segments", path, "", "segments_info is empty", expected)
    if len(segments) > queries:
        found = f"{len(segments)} segments, the model finds {queries} at most"
        expected = f"MODEL.DETR.NUM_QUERIES {len(segments)} or more"
        yield Finding("warning", "more segments than queries", path, "", found, expected)


def check_balance(
    path: str, categories: Mapping[int, Entry], counts: Mapping[int, int]
) -> Iterator[Finding]:
    """Classes that are absent or rare, by the number of segments of each category id."""
    most = max(counts.values(), default=0)
    for number, category in categories.items():
        count = counts.get(number, 0)
        if count == 0:
            found, expected = f"class {category['name']!r} never occurs", "remove it, or fine"
            yield Finding("note", "class without segments", path, f"id {number}", found, expected)
        elif count < RARE * most:
            found = f"class {category['name']!r} has {count} segments, another {most}"
            expected = "more of it, or expect little"
            yield Finding("warning", "rare class", path, f"id {number}", found, expected)
