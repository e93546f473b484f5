"""Semantic masks: one PNG per image whose pixel values are classes."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import cv2
import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, joined
from detr_d2.conversion.formats.image_folder import ImageFolderFormat
from detr_d2.conversion.formats.matching import Match
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import ImageInfo, UnreadableError, read_values
from detr_d2.ops.panoptic_ids import compact

VALUES_SHOWN, DECLARED_SHOWN = 8, 40
# How far a value may be from that of its class, of 255 (colours: Euclidean distance).
NEAREST_DISTANCE = 40
# Stands for a value without a label.
NO_LABEL = -2


@dataclass
class SemanticPng(ImageFolderFormat):
    """Semantic masks; 0 is a class if the list says so.

    Args:
        values: the classes, whose keys are pixel values (see `classes.parse_classes`).
        void: values declared as void; the background class does not fill them.
        background: values that mean "not labelled": void, or the background class if there is one.
            A value in none of the lists is an error.
        nearest: take the nearest declared value, for JPEGs and smooth edges; an area of a value
            far from all of them is an error.
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

    With `nearest`, values without a label take that of the nearest value if it is no farther than
    NEAREST_DISTANCE; along edges, where the values of two classes mix, at any distance.

    Raises:
        UnreadableError: a value without a label; with `nearest`, an area of one that is farther.
    """
    present, positions = compact(values)
    found = np.array([labels.get(value, NO_LABEL) for value in present], np.int16)
    if not (found == NO_LABEL).any():
        return found[positions]
    colors = max(labels) > 65535
    declared = [_show(value, colors) for value in sorted(labels)[:DECLARED_SHOWN]]
    if not nearest:
        unknown = [value for value in present if value not in labels]
        shown = ", ".join(_show(value, colors) for value in unknown[:VALUES_SHOWN])
        raise UnreadableError(
            f"{path}: pixel values {shown} are no declared class, void or background; declared: "
            f"{', '.join(declared)}"
        )
    known = np.array(sorted(labels))
    best, distances = _nearest(np.array(present), known, colors)
    far = (distances > NEAREST_DISTANCE)[positions]
    # Edges are thinner than five pixels: in what erosion leaves, no two classes mix.
    areas = cv2.erode(far.view(np.uint8), np.ones((5, 5), np.uint8)).view(bool)
    if areas.any():
        position = int(np.bincount(positions[areas]).argmax())
        raise UnreadableError(
            f"{path}: pixel value {_show(present[position], colors)} is no declared class, void or "
            f"background, and {distances[position]:.0f} from the nearest one, more than "
            f"{NEAREST_DISTANCE}; declared: {', '.join(declared)}"
        )
    return np.array([labels[int(value)] for value in known], np.int16)[best][positions]


def _nearest(values: np.ndarray, known: np.ndarray, colors: bool) -> tuple[np.ndarray, np.ndarray]:
    """The position of the nearest known value of each value (N,), and its distance (N,)."""
    points, targets = (_channels(v) if colors else v[:, None] for v in (values, known))
    best = np.zeros(len(points), np.int64)
    squares = np.full(len(points), np.iinfo(np.int64).max)
    for index, target in enumerate(targets):
        square = ((points - target) ** 2).sum(axis=1)
        best[square < squares] = index
        squares = np.minimum(squares, square)
    return best, np.sqrt(squares)


def _channels(values: np.ndarray) -> np.ndarray:
    """Red, green and blue (N, 3) of colours R + 256 G + 65536 B."""
    return np.stack([values & 255, values >> 8 & 255, values >> 16], axis=1)


def _show(value: int, colors: bool) -> str:
    """A pixel value as users write it."""
    if not colors:
        return str(value)
    return "#" + bytes([value & 255, value >> 8 & 255, value >> 16]).hex()
