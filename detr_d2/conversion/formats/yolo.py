"""YOLO segmentation, a text file an image with a polygon a line."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import Sample, joined
from detr_d2.conversion.formats.drawing import Drawing, cut_out
from detr_d2.conversion.formats.image_folder import ImageFolderFormat
from detr_d2.conversion.formats.matching import Match
from detr_d2.data.image_io import ImageFacts, UnreadableError
from detr_d2.data.segmentations import draw_polygons

# How far a polygon may reach out of the image, in parts of its sides: those of turned or cropped
# images do so a little. What is farther out was not written as parts of the image.
OUTSIDE = 0.5


@dataclass
class Yolo(ImageFolderFormat):
    """YOLO segmentation labels.

    A line is an object: the number of its class, then x and y of its corners as parts of the
    image's width and height. `masks` is the folder of the text files. An empty file says that there
    is nothing.

    Args:
        values: the classes, whose keys are their numbers; a `data.yaml` has them.
    """

    name: ClassVar[str] = "yolo"
    mask_suffixes: ClassVar[frozenset[str]] = frozenset({".txt"})
    are_things: ClassVar[bool] = True

    values: tuple[SourceClass, ...] = ()

    def scan(self) -> None:
        """Match text files to images."""
        wrong = [c.key for c in self.values if not isinstance(c.key, int)]
        if wrong or not self.values:
            raise ValueError(
                f"yolo: classes need numbers: data.yaml, or NUMBER=NAME,...; found {wrong}"
            )
        self.classes = list(self.values)
        found, images = self.matches()
        self.refuse_several(found)
        self.make_samples(found, images)

    def read(self, sample: Sample, facts: ImageFacts) -> Drawing:
        """Draw the polygons of one image."""
        matches: list[Match] = sample.source
        drawing = Drawing(facts.size)
        if not matches:
            return drawing
        path = joined(self.masks, matches[0].mask)
        height, width = self.frame(facts)
        keys = {c.key for c in self.classes}
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip():
                continue
            where = f"{path}: line {number}"
            key, polygon = parse_line(line, where)
            if key not in keys:
                raise UnreadableError(f"{where}: class {key} is not declared")
            mask = draw_polygons([(polygon * (width, height)).ravel()], height, width)
            layer = cut_out(self.fit(mask, facts, where), key)
            drawing.layers += [layer] if layer else []
        return drawing


def parse_line(line: str, where: str) -> tuple[int, np.ndarray]:
    """The class number of an object, and its corners (N, 2) as parts of width and height.

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
        raise UnreadableError(f"{where}: coordinate {beyond[0]}; must be a part of the side, 0..1")
    return int(key), np.array(sides, np.float64).reshape(-1, 2)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: not readable as text ({error})") from error
