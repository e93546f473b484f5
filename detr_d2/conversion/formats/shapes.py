"""Annotation formats of shapes with labels: what they have in common, and the shapes' pixels."""

import math
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detr_d2.conversion.classes import NOT_A_CLASS, SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat
from detr_d2.conversion.image_annotation import VOID, ImageAnnotation
from detr_d2.data.image_io import ImageInfo, UnreadableError
from detr_d2.data.segmentations import SHORTEST, check_points, check_size, rasterize_polygons

VOID_LABEL = "__ignore__"


@dataclass
class ShapeFormat(AnnotationFormat):
    """Shapes with a label each. Labels are things unless named as stuff.

    `__ignore__` is void, `_background_` is unlabelled. Shapes of one label and one group are one
    instance.

    Args:
        ignore: labels that are void like `__ignore__`.
        skip: labels whose shapes are skipped.
    """

    ignore: tuple[str, ...] = field(default=(), kw_only=True)
    skip: tuple[str, ...] = field(default=(), kw_only=True)

    @abstractmethod
    def label_of(self, shape: Any) -> str:
        """The label of a shape.

        Raises:
            UnreadableError: it has none.
        """

    @abstractmethod
    def rasterize(self, shape: Any, size: tuple[int, int], where: str) -> np.ndarray:
        """Rasterize a shape of an image of `size`: (H, W) bool.

        Raises:
            UnreadableError: it is malformed or has no area; `where` names it.
        """

    def group_of(self, shape: Any) -> Hashable:
        """The group of a shape, None when it stands alone."""
        return None

    def is_skipped(self, label: str) -> bool:
        """Whether shapes of a label are no part of the result, not even void."""
        return label in self.skip or (label in NOT_A_CLASS and label != VOID_LABEL)

    def make_classes(self, labels: Iterable[str]) -> list[SourceClass]:
        """Classes for labels, in their order, without those that are void or skipped."""
        void = {VOID_LABEL, *self.ignore}
        kept = [n for n in dict.fromkeys(labels) if n not in void and not self.is_skipped(n)]
        return [SourceClass(label, label, True) for label in kept]

    def labels_in(self, shapes: Iterable[Any]) -> list[str]:
        """The labels of those shapes that have one; the others are reported when they are read."""
        labels = []
        for shape in shapes:
            try:
                labels.append(self.label_of(shape))
            except UnreadableError:
                continue
        return labels

    def read_shapes(
        self, shapes: Sequence[Any], said: Any, info: ImageInfo, where: str
    ) -> ImageAnnotation:
        """Rasterize the shapes of one image.

        Args:
            shapes: as the format has them, the lowest first.
            said: size (H, W) that the annotation gives its image; None, or None for a side, where
                it gives none.
            info: the image.
            where: names the annotation in messages.

        Raises:
            UnreadableError: another size than the image's, or a malformed shape.
        """
        expected = self.annotated_size(info)
        height, width = said or expected
        size = check_size((height or expected[0], width or expected[1]), where)
        if hint := self.misfit(size, info):
            raise UnreadableError(
                f"{where}: says that its image has {size[1]}x{size[0]} pixels, but it has "
                f"{expected[1]}x{expected[0]}; {hint}"
            )
        annotation = ImageAnnotation(info.size)
        known = {c.key for c in self.classes}
        for number, shape in enumerate(shapes):
            with self.one_annotation(annotation):
                try:
                    label = self.label_of(shape)
                except UnreadableError as error:
                    raise UnreadableError(f"{where}: shape {number} {error}") from error
                if self.is_skipped(label):
                    continue
                place = f"{where}: shape {number} ({label})"
                try:
                    drawn = self.rasterize(shape, size, place)
                except OverflowError as error:
                    raise UnreadableError(f"{place}: a number beyond 1e308") from error
                mask = self.align(drawn, info, place)
                key = label if label in known else VOID
                group = self.group_of(shape)
                annotation.add_region(mask, key, group=None if group is None else ("group", group))
        return annotation


def fill_polygon(
    outline: Any, size: tuple[int, int], where: str, holes: Iterable[Any] = ()
) -> np.ndarray:
    """Rasterize a polygon with holes: (H, W) bool.

    Args:
        outline: x and y of its corners, flat or in pairs; `holes` likewise.
        size: of the mask.
        where: names it in messages.

    Raises:
        UnreadableError: fewer than three corners, or coordinates that are no numbers or far
            outside of the image.
    """
    mask = np.zeros(size, bool)
    for inside, corners in [(True, outline), *((False, hole) for hole in holes)]:
        points = check_points(corners, *size, where)
        if points.size < SHORTEST:
            raise UnreadableError(f"{where}: {len(points)} points, a polygon has 3 or more")
        mask[rasterize_polygons([points.ravel().tolist()], *size)] = inside
    return mask


def fill_rectangle(corners: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """Rasterize a rectangle, given by two opposite corners x, y: (H, W) bool."""
    (x0, y0), (x1, y1) = check_points(corners, *size, where)[:2]
    return fill_polygon([x0, y0, x1, y0, x1, y1, x0, y1], size, where)


def fill_ellipse(
    center: Any, radii: Any, size: tuple[int, int], where: str, angle: float = 0.0
) -> np.ndarray:
    """Rasterize an ellipse: the pixels whose centre lies inside, (H, W) bool.

    Args:
        center, radii: x and y, pixels.
        size: of the mask.
        where: names it in messages.
        angle: by which the ellipse is turned clockwise on the screen, degrees.
    """
    (x, y), (a, b) = check_points([center, radii], *size, where)
    if a <= 0 or b <= 0 or not math.isfinite(angle):
        raise UnreadableError(f"{where}: radii {a:g}, {b:g}, angle {angle}; no ellipse")
    rows, columns = np.ogrid[: size[0], : size[1]]
    dx, dy = columns + 0.5 - x, rows + 0.5 - y
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return ((dx * cos + dy * sin) / a) ** 2 + ((dy * cos - dx * sin) / b) ** 2 <= 1
