"""Semantic masks: one PNG per image whose pixel values are classes."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, ImageAnnotation, Sample, joined
from detr_d2.conversion.formats.image_folder import ImageFolderFormat
from detr_d2.conversion.formats.matching import Match
from detr_d2.data.image_io import ImageInfo, UnreadableError, read_values

VALUES_SHOWN = 8


@dataclass
class SemanticPng(ImageFolderFormat):
    """Semantic masks; 0 is a class if the list says so.

    Args:
        values: the classes, whose keys are pixel values (see `classes.parse_classes`).
        void: values declared as void; the background class does not fill them.
        background: values that mean "not labelled": void, or the background class if there is one.
            A value in none of the lists is an error.
        nearest: take the nearest declared value, for JPEGs and smooth edges.
    """

    name: ClassVar[str] = "semantic-png"

    values: tuple[SourceClass, ...] = ()
    void: tuple[int, ...] = ()
    background: tuple[int, ...] = ()
    nearest: bool = False

    def find_samples(self) -> list[Sample]:
        """Match masks to images."""
        wrong = [c.key for c in self.values if not isinstance(c.key, int)]
        if wrong or not self.values:
            raise ValueError(f"semantic-png: classes need pixel values, VALUE=NAME; found {wrong}")
        self.classes = list(self.values)
        self._labels = value_labels(self.values, self.void, self.background)
        found, images = self.matches()
        self.reject_several(found)
        return self.make_samples(found, images)

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Read the mask as a class map."""
        matches: list[Match] = sample.source
        if not matches:
            return ImageAnnotation(info.size)
        path = joined(self.masks, matches[0].mask)
        class_map = read_class_map(self, path, info, self._labels, self.nearest)
        return ImageAnnotation(info.size, class_map)


def value_labels(
    classes: Iterable[SourceClass], void: Iterable[int], background: Iterable[int] | None
) -> dict[int, int]:
    """The label of every pixel value: index of the class + 1, 0 = unlabelled, -1 = void.

    Args:
        classes: their keys are pixel values.
        void: values declared as void.
        background: values that mean "not labelled"; None = 0, unless it has another meaning.

    Raises:
        ValueError: a value with two meanings.
    """
    labels = {int(c.key): index for index, c in enumerate(classes, start=1)}  # type: ignore[call-overload]
    if background is None:
        background = {0} - set(labels) - set(void)
    meanings = {"a class": set(labels), "background": set(background), "void": set(void)}
    for (one, values), (other, others) in combinations(meanings.items(), 2):
        if both := sorted(values & others):
            raise ValueError(f"pixel values {both} are both {one} and {other}")
    return labels | dict.fromkeys(background, 0) | dict.fromkeys(void, -1)


def read_class_map(
    annotation_format: AnnotationFormat,
    path: str,
    info: ImageInfo,
    labels: dict[int, int],
    nearest: bool = False,
) -> np.ndarray:
    """Read a semantic mask of an image as a class map: (H, W) int16.

    Args:
        annotation format: aligns masks to their images.
        path: the mask.
        info: of the image.
        labels: see `value_labels`.
        nearest: take the nearest value that has a label, for JPEGs and smooth edges.

    Raises:
        UnreadableError: the mask is damaged, of another size, or has a value without a label.
    """
    # Only colours have values above those of 16 bits.
    colors = max(labels) > 65535
    values = annotation_format.align(
        read_values(path, lossless=not nearest, colors=colors), info, path
    )
    return to_class_map(values, labels, path, nearest)


def to_class_map(
    values: np.ndarray, labels: dict[int, int], path: str, nearest: bool = False
) -> np.ndarray:
    """Replace pixel values (H, W) by their labels: int16.

    Raises:
        UnreadableError: a value without a label, unless the nearest is taken.
    """
    known = np.array(sorted(labels), np.int64)
    known_labels = np.array([labels[int(value)] for value in known], np.int16)
    highest = int(values.max()) if values.size else 0
    if highest < 2**16:
        # A table over all values: one look-up per pixel.
        present = np.flatnonzero(np.bincount(values.ravel(), minlength=1))
        inverse = values
        table = np.zeros(highest + 1, np.int16)
    else:
        present, inverse = np.unique(values, return_inverse=True)
        inverse = inverse.reshape(values.shape)
        table = np.zeros(len(present), np.int16)
    spots = np.searchsorted(known, present).clip(0, len(known) - 1)
    below = (spots - 1).clip(0)
    closer = np.abs(known[below] - present) < np.abs(known[spots] - present)
    spots = np.where(closer, below, spots)
    unknown = present[known[spots] != present]
    if len(unknown) and not nearest:
        shown = ", ".join(str(int(v)) for v in unknown[:VALUES_SHOWN])
        raise UnreadableError(
            f"{path}: pixel values {shown} are no declared class, void or background; declared: "
            f"{known[:40].tolist()}"
        )
    table[present if highest < 2**16 else slice(None)] = known_labels[spots]
    return table[inverse]
