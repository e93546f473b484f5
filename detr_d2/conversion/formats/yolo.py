"""YOLO segmentation: one text file per image, one polygon per line."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import Sample, joined
from detr_d2.conversion.formats.image_folder import ImageFolderFormat
from detr_d2.conversion.formats.matching import Match
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import ImageInfo, UnreadableError
from detr_d2.data.segmentations import rasterize_polygons
from detr_d2.utils.files import read_lines

# How far a polygon may reach out of the image, as a fraction of its sides: those of rotated or
# cropped images do so a little. Coordinates farther out are not fractions at all.
OUTSIDE = 0.5


@dataclass
class Yolo(ImageFolderFormat):
    """YOLO segmentation labels.

    A line is an object: the number of its class, then x and y of its corners as fractions of the
    image's width and height. `masks` is the folder of the text files. An empty file means an image
    without objects.

    Args:
        values: the classes, whose keys are their numbers; a `data.yaml` has them.
    """

    name: ClassVar[str] = "yolo"
    mask_suffixes: ClassVar[frozenset[str]] = frozenset({".txt"})
    are_things: ClassVar[bool] = True

    values: tuple[SourceClass, ...] = ()

    def find_samples(self) -> list[Sample]:
        """Match text files to images."""
        wrong = [c.key for c in self.values if not isinstance(c.key, int)]
        if wrong or not self.values:
            raise ValueError(
                f"yolo: classes need numbers: data.yaml, or NUMBER=NAME,...; found {wrong}"
            )
        self.classes = list(self.values)
        found, images = self.matches()
        self.reject_several(found)
        return self.make_samples(found, images)

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Rasterize the polygons of one image."""
        matches: list[Match] = sample.source
        annotation = ImageAnnotation(info.size)
        if not matches:
            return annotation
        path = joined(self.masks, matches[0].mask)
        height, width = self.annotated_size(info)
        keys = {c.key for c in self.classes}
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip():
                continue
            where = f"{path}: line {number}"
            with self.one_annotation(annotation):
                key, polygon = parse_line(line, where)
                if key not in keys:
                    raise UnreadableError(f"{where}: class {key} is not declared")
                mask = rasterize_polygons([(polygon * (width, height)).ravel()], height, width)
                annotation.add_region(self.align(mask, info, where), key)
        return annotation


def parse_line(line: str, where: str) -> tuple[int, np.ndarray]:
    """The class number of an object, and its corners (N, 2) as fractions of width and height.

    Raises:
        UnreadableError: no numbers, a box instead of a polygon, or coordinates in pixels.
    """
    try:
        key, *sides = (float(word) for word in line.split())
    except ValueError as error:
        raise UnreadableError(f"{where}: {error}") from error
    if not key.is_integer():
        raise UnreadableError(f"{where}: class {key}; must be a whole number")
    if len(sides) == 4:
        raise UnreadableError(f"{where}: only a box; a polygon is needed")
    if len(sides) < 6 or len(sides) % 2:
        raise UnreadableError(f"{where}: {len(sides)} coordinates; must be x and y of 3 or more")
    beyond = [side for side in sides if not -OUTSIDE <= side <= 1 + OUTSIDE]
    if beyond:
        raise UnreadableError(f"{where}: coordinate {beyond[0]}; must be a fraction, 0..1")
    return int(key), np.array(sides, np.float64).reshape(-1, 2)


def _lines(path: str) -> list[str]:
    try:
        return read_lines(path)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: not readable as text ({error})") from error
