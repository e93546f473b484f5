"""Index of a COCO JSON: its images and categories, and where its annotations are in the file."""

import os
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from detr_d2.conversion.formats.recognize import COCO, check_format
from detr_d2.data.image_io import UnreadableError
from detr_d2.utils.json_lists import read_json_lists, read_json_parts
from detr_d2.utils.progress import Progress

IMAGE_KEYS = ("id", "file_name", "height", "width")
ANNOTATION_KEYS = ("image_id", "category_id")


class CocoIndex:
    """What the annotations of COCO belong to; they themselves stay in the file.

    `images` have IMAGE_KEYS only; `categories` are as they are there; `counts` has the number of
    annotations by category; `places` those of an image's annotations, by its id as text, for
    `CocoAnnotations`; `incomplete` the numbers of those without an image or a category.

    Args:
        path: the JSON.
        progress: called with (bytes read, bytes of the file).

    Raises:
        ValueError: not valid JSON, of another format, or an image or category without its keys.
    """

    def __init__(self, path: str | os.PathLike[str], progress: Progress | None = None) -> None:
        self.path = path
        self.images: list[Any] = []
        self.counts: Counter[int | str] = Counter()
        self.places: dict[str, array[int]] = {}
        self.incomplete: list[int] = []
        self._annotations = 0
        self.file = CocoAnnotations(path)
        take = {"images": self._add_image, "annotations": self._add_annotation}
        content = read_json_lists(path, take, progress)
        check_format(content, path, COCO)
        self.categories: list[dict[str, Any]] = content["categories"]
        _check_entries(self.images, ("id", "file_name"), f"{path}: images")
        _check_entries(self.categories, ("id", "name"), f"{path}: categories")

    def _add_image(self, entry: Any, start: int, end: int) -> None:
        if isinstance(entry, Mapping):
            entry = {key: entry[key] for key in IMAGE_KEYS if key in entry}
        self.images.append(entry)

    def _add_annotation(self, entry: Any, start: int, end: int) -> None:
        number, self._annotations = self._annotations, self._annotations + 1
        keys = [entry.get(key) if isinstance(entry, Mapping) else None for key in ANNOTATION_KEYS]
        image_id, category_id = keys
        if not isinstance(image_id, (int, str)) or not isinstance(category_id, (int, str)):
            self.incomplete.append(number)
            return
        self.counts[category_id] += 1
        # By text: older versions of VIA write ids of images as numbers in one list, as text in
        # the other.
        self.places.setdefault(str(image_id), array("q")).extend((start, end))


class CocoAnnotations:
    """Reads annotations of a file by their places, as long as it is the same file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._state = _state_of(path)

    def read(self, places: Sequence[int]) -> list[Mapping[str, Any]]:
        """Read annotations again.

        Raises:
            UnreadableError: the file has changed since the index was made.
        """
        if _state_of(self.path) != self._state:
            raise UnreadableError(f"{self.path}: it was changed while it was converted")
        return read_json_parts(self.path, places)


def _state_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_size, state.st_mtime_ns


def _check_entries(entries: list[Any], needed: tuple[str, ...], where: str) -> None:
    """Raise ValueError for an entry without id (a number or text) or without a name (text)."""
    for place, entry in enumerate(entries):
        sound = isinstance(entry, Mapping) and isinstance(entry.get(needed[0]), (int, str))
        if not sound or not isinstance(entry.get(needed[1]), str):
            raise ValueError(f"{where}: entry {place} needs {' and '.join(needed)}; it is {entry}")
