"""Checking a COCO-panoptic set: everything that would surface later as nonsense.

PNGs and photos are opened one after the other; the JSON and the findings (a few of each kind) are
what is held in memory.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from detr_d2.data.classes import read_json
from detr_d2.data.forms.base import joined
from detr_d2.data.mask_files import (
    PHOTO_SUFFIXES,
    UnreadableError,
    files_below,
    look_at_photo,
    read_values,
)
from detr_d2.data.splits import near_pairs
from detr_d2.ops.panoptic_ids import compact, rgb_to_id

SEVERITIES = ("error", "warning", "note")
LISTS = ("images", "annotations", "categories")
# A class with less than this part of the most frequent class' segments is called rare.
RARE = 0.01


@dataclass(frozen=True)
class Finding:
    """One fault: `kind` groups like faults, `item` is the id it is about, `right` what it should
    be or what to do."""

    severity: str
    kind: str
    file: str
    item: str
    found: str
    right: str

    def __str__(self) -> str:
        item = f" {self.item}" if self.item else ""
        return f"{self.file}:{item} {self.found}; {self.right}"


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
        queries: the largest number of segments that the model can find in a photo.
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
        lists = content if isinstance(content, dict) else {}
        missing = [name for name in LISTS if not isinstance(lists.get(name), list)]
        if missing:
            found = f"no list {', '.join(missing)}"
            yield Finding("error", "no COCO-panoptic", path, "", found, f"it needs {LISTS}")
            return
        self.total = len(content["annotations"])
        yield from self._categories(content["categories"])
        yield from self._lists(content["images"], content["annotations"])
        images = {image.get("id"): image for image in content["images"]}
        for annotation in content["annotations"]:
            image = images.get(annotation.get("image_id"))
            if image is not None:
                yield from self._photo(image)
                yield from self._annotation(annotation, image)
        yield from self._balance()

    def _categories(self, categories: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
        path = self.files.panoptic_json
        for what, severity in (("id", "error"), ("name", "warning")):
            for value, count in Counter(c.get(what) for c in categories).items():
                if count > 1:
                    found = f"{count} categories have the {what} {value!r}"
                    right = f"every category has a {what} of its own"
                    yield Finding(severity, f"duplicate category {what}", path, "", found, right)
        for category in categories:
            if not isinstance(category.get("id"), int) or category.get("isthing") not in (0, 1):
                right = "id is an integer, isthing is 0 or 1"
                found = str(dict(category))[:120]
                yield Finding("error", "faulty category", path, "", found, right)
            else:
                self.categories[category["id"]] = category

    def _lists(
        self, images: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]]
    ) -> Iterator[Finding]:
        path = self.files.panoptic_json
        ids = Counter(image.get("id") for image in images)
        annotated = Counter(annotation.get("image_id") for annotation in annotations)
        for counter, what in (
            (ids, "images have the id"),
            (annotated, "annotations have image_id"),
        ):
            for value, count in counter.items():
                if count > 1:
                    found = f"{count} {what} {value!r}"
                    yield Finding("error", "duplicate image", path, "", found, "one of each")
        for image in images:
            if image.get("id") not in annotated:
                name = str(image.get("file_name"))
                right = "an annotation, with an empty segments_info if there is nothing"
                yield Finding("error", "image without record", name, "", "no annotation", right)
        for annotation in annotations:
            if annotation.get("image_id") not in ids:
                name = str(annotation.get("file_name"))
                found = f"image_id {annotation.get('image_id')!r} is not among the images"
                yield Finding("error", "record without image", name, "", found, "an image entry")
        stems: dict[str, str] = {}
        for image in images:
            name = str(image.get("file_name"))
            stem = os.path.splitext(os.path.basename(name))[0]
            if stem in stems:
                found, right = f"same base name as {stems[stem]}", "base names are unique"
                yield Finding("error", "same base name", name, "", found, right)
            stems[stem] = name
        if os.path.isdir(self.files.image_root):
            listed = {str(image.get("file_name")) for image in images}
            for name in files_below(self.files.image_root, PHOTO_SUFFIXES):
                if name not in listed:
                    right = "fine if it belongs to another part"
                    yield Finding("note", "photo not listed", name, "", "not in the JSON", right)

    def _photo(self, image: Mapping[str, Any]) -> Iterator[Finding]:
        name = str(image.get("file_name"))
        path = joined(self.files.image_root, name)
        if not os.path.isfile(path):
            yield Finding("error", "missing photo", path, "", "not there", "a photo")
            return
        try:
            facts = look_at_photo(path)
        except UnreadableError as error:
            found = str(error).removeprefix(f"{path}: ")
            yield Finding("error", "unreadable photo", path, "", found, "a whole photo")
            return
        self.looks[name] = facts.look
        listed = (image.get("height"), image.get("width"))
        if listed != facts.size:
            found = f"the JSON says {listed[1]}x{listed[0]}"
            right = f"the photo has {facts.size[1]}x{facts.size[0]}"
            yield Finding("error", "wrong size", path, "", found, right)

    def _annotation(
        self, annotation: Mapping[str, Any], image: Mapping[str, Any]
    ) -> Iterator[Finding]:
        path = joined(self.files.panoptic_root, str(annotation.get("file_name")))
        segments = annotation.get("segments_info")
        if not isinstance(segments, list):
            yield Finding("error", "no segments_info", path, "", "no list", "a list of segments")
            return
        yield from self._segments(path, segments)
        try:
            ids, mode = read_ids(path)
        except UnreadableError as error:
            found = str(error).removeprefix(f"{path}: ")
            yield Finding("error", "unreadable PNG", path, "", found, "a whole RGB PNG")
            return
        if mode != "RGB":
            right = "RGB, id = R + 256 G + 65536 B"
            yield Finding("error", "PNG not RGB", path, "", f"image mode {mode}", right)
        listed = (image.get("height"), image.get("width"))
        if ids.shape != listed:
            found = f"{ids.shape[1]}x{ids.shape[0]} pixels"
            yield Finding(
                "error", "wrong size", path, "", found, f"the JSON says {listed[1]}x{listed[0]}"
            )
        yield from compare_segments(path, ids, segments, self.tiny)

    def _segments(self, path: str, segments: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
        """What the JSON alone shows."""
        numbers = Counter(segment.get("id") for segment in segments)
        stuff: Counter[int] = Counter()
        for segment in segments:
            number, category = segment.get("id"), segment.get("category_id")
            if not isinstance(number, int) or number < 1:
                right = "ids count from 1; 0 is void"
                yield Finding("error", "segment id 0", path, f"segment {number}", "its id", right)
            if category not in self.categories:
                found = f"category_id {category!r}"
                right = f"one of {sorted(self.categories)[:12]}"
                yield Finding("error", "unknown category", path, f"segment {number}", found, right)
                continue
            self.counts[category] += 1
            if not self.categories[category]["isthing"] and not segment.get("iscrowd"):
                stuff[category] += 1
        for number, count in numbers.items():
            if count > 1:
                item = f"segment {number}"
                right = "every id once"
                yield Finding("error", "duplicate segment id", path, item, f"{count} times", right)
        for category, count in stuff.items():
            if count > 1:
                found = f"stuff {self.categories[category]['name']!r} has {count} segments"
                right = "one segment a class of stuff"
                yield Finding("error", "stuff in several segments", path, "", found, right)
        if not segments:
            right = "fine if there is nothing; training leaves it out"
            yield Finding("note", "no segments", path, "", "segments_info is empty", right)
        if len(segments) > self.queries:
            found = f"{len(segments)} segments, the model finds {self.queries} at most"
            right = f"MODEL.DETR.NUM_QUERIES {len(segments)} or more"
            yield Finding("warning", "more segments than queries", path, "", found, right)

    def _balance(self) -> Iterator[Finding]:
        path = self.files.panoptic_json
        most = max(self.counts.values(), default=0)
        for number, category in self.categories.items():
            count = self.counts[number]
            if count == 0:
                found, right = f"class {category['name']!r} never occurs", "leave it out, or fine"
                yield Finding("note", "class without segments", path, f"id {number}", found, right)
            elif count < RARE * most:
                found = f"class {category['name']!r} has {count} segments, another {most}"
                right = "more of it, or expect little"
                yield Finding("warning", "rare class", path, f"id {number}", found, right)


def read_ids(path: str) -> tuple[np.ndarray, str]:
    """Read the ids of a PNG of any mode: (H, W) integers, and the mode.

    Raises:
        UnreadableError: no such file, or damaged.
    """
    if not os.path.isfile(path):
        raise UnreadableError(f"{path}: not there")
    try:
        with Image.open(path) as png:
            mode = png.mode
            if mode in ("RGB", "RGBA"):
                return rgb_to_id(np.asarray(png.convert("RGB"))), mode
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableError(f"{path}: not readable ({error})") from error
    return read_values(path), mode


def compare_segments(
    path: str, ids: np.ndarray, segments: Sequence[Mapping[str, Any]], tiny: int
) -> Iterator[Finding]:
    """Compare the listed segments with the pixels: ids, areas, boxes, sizes."""
    present, positions = compact(ids)
    areas = np.bincount(positions.ravel(), minlength=len(present)).tolist()
    where = {number: place for place, number in enumerate(present)}
    listed = {segment.get("id") for segment in segments}
    for number in present:
        if number not in listed and number != 0:
            item, found = f"id {number}", f"{areas[where[number]]} pixels in the PNG"
            right = "an entry in segments_info"
            yield Finding("error", "id not in the JSON", path, item, found, right)
    for segment in segments:
        item, number = f"segment {segment.get('id')}", segment.get("id", -1)
        if number not in where:
            right = "no entry without pixels"
            yield Finding("error", "id not in the PNG", path, item, "no pixel", right)
            continue
        area = areas[where[number]]
        if segment.get("area") != area:
            found, right = f"area {segment.get('area')}", f"{area}"
            yield Finding("error", "wrong area", path, item, found, right)
        box = [int(v) for v in cv2.boundingRect((positions == where[number]).view(np.uint8))]
        if segment.get("bbox") is not None and list(segment["bbox"]) != box:
            found, right = f"bbox {segment['bbox']}", f"{box}"
            yield Finding("error", "wrong box", path, item, found, right)
        if segment.get("iscrowd") not in (0, 1):
            found = f"iscrowd {segment.get('iscrowd')!r}"
            yield Finding("error", "faulty iscrowd", path, item, found, "0 or 1")
        if area < tiny:
            found, right = f"{area} pixels", "void, or fine if it is real"
            yield Finding("warning", "tiny segment", path, item, found, right)


def find_near_duplicates(
    parts: Mapping[str, Mapping[str, int]], distance: int = 3
) -> Iterator[Finding]:
    """Photos of different parts that look alike: what is learnt by heart scores in evaluation.

    Args:
        parts: for every part the look (see `mask_files.look_at_photo`) of every photo.
        distance: bits in which the looks may differ.
    """
    flat = [(part, name, look) for part, looks in parts.items() for name, look in looks.items()]
    for i, j in near_pairs([look for _, _, look in flat], distance):
        if flat[i][0] != flat[j][0]:
            found = f"looks like {flat[j][1]} of {flat[j][0]}"
            right = "both in one part (--group-by)"
            name = f"{flat[i][1]} of {flat[i][0]}"
            yield Finding("warning", "near-duplicate across parts", name, "", found, right)


class Page:
    """One page of findings: counts of every kind, and the first few of each.

    Args:
        shown: how many of a kind are kept.
    """

    def __init__(self, shown: int = 3) -> None:
        self.shown = shown
        self.counts: Counter[tuple[str, str]] = Counter()
        self.examples: dict[tuple[str, str], list[Finding]] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings."""
        for finding in findings:
            kind = (finding.severity, finding.kind)
            self.counts[kind] += 1
            examples = self.examples.setdefault(kind, [])
            if len(examples) < self.shown:
                examples.append(finding)

    def count(self, severity: str) -> int:
        """How many findings are of a severity."""
        return sum(n for (s, _), n in self.counts.items() if s == severity)

    def __str__(self) -> str:
        lines = [", ".join(f"{self.count(s)} {s}s" for s in SEVERITIES)]
        kinds = sorted(
            self.counts, key=lambda kind: (SEVERITIES.index(kind[0]), -self.counts[kind])
        )
        for kind in kinds:
            lines.append(f"{kind[0].upper()} {kind[1]} ({self.counts[kind]})")
            lines += [f"    {finding}" for finding in self.examples[kind]]
            if self.counts[kind] > self.shown:
                lines.append(f"    ... and {self.counts[kind] - self.shown} more")
        return "\n".join(lines)
