"""Segments as polygons of few corners, at most about a pixel away from the mask's edge.

Coordinates are those of COCO: pixel (row r, column c) covers x from c to c + 1, y from r to r + 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from detr_d2.ops.coco_instances import Part, Point, join_loops, outline_parts

# Distance in pixels by which a polygon may leave the mask's edge: the first that is good enough.
# A slanted edge of pixels is a stair whose steps lie within 0.71 of a straight line.
TOLERANCES = (1.0, 0.75)
# How well a simplified outline must cover what it outlined; thin ones keep all their corners.
LOWEST_IOU = 0.95
Corners = list[tuple[float, float]]


@dataclass(frozen=True)
class Shape:
    """One polygon of a segment.

    `area` is the number of pixels that it covers, `corners` (x, y) in pixels.
    """

    segment: Mapping[str, Any]
    area: int
    corners: Corners


def whole_shapes(id_map: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> list[Shape]:
    """Outline each segment by one polygon, in the order of the segments.

    Holes and further parts are joined to it by lines there and back, which even-odd filling does
    not see. For formats in which an object is one polygon.

    Args:
        id_map: (H, W) integers.
        segments: with `id`; those without a pixel give no shape.
    """
    shapes = []
    for segment in segments:
        mask = id_map == segment["id"]
        if mask.any():
            shapes.append(Shape(segment, int(mask.sum()), _simplified(outline_parts(mask))))
    return shapes


def layered_shapes(id_map: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> list[Shape]:
    """Outline the parts of each segment as an annotator would, the largest shape first.

    A polygon goes on below the segments that lie in it, so that it needs no hole, and none is left
    when one of them is deleted: small shapes on top of large ones give the map again. Only around
    pixels without a segment there is a hole, joined as `Part.joined` says.

    Args:
        id_map: (H, W) integers, 0 = no segment.
        segments: with `id`; those without a pixel give no shape.
    """
    shapes = []
    for segment in segments:
        mask = id_map == segment["id"]
        for part in outline_parts(mask) if mask.any() else []:
            below, area = _with_what_lies_in_it(part, id_map)
            shapes.append(Shape(segment, area, _simplified([below])))
    return sorted(shapes, key=lambda shape: -shape.area)


def rasterize(corners: Sequence[Sequence[float]], size: tuple[int, ...]) -> np.ndarray:
    """Rasterize a polygon as pycocotools does: (H, W) bool of the given size."""
    flat = [value for corner in corners for value in corner]
    (rle,) = coco_mask.frPyObjects([flat], *size)
    return coco_mask.decode(rle).view(bool)


def _with_what_lies_in_it(part: Part, id_map: np.ndarray) -> tuple[Part, int]:
    """A part without the holes that segments fill, and how many pixels it then covers."""
    # In its box only: a large map may have thousands of parts.
    corners = np.array(part.outer)
    low = left, top = tuple(corners.min(0).tolist())
    right, bottom = corners.max(0).tolist()
    covered = rasterize((corners - low).tolist(), (bottom - top, right - left))
    if part.holes:
        is_segment = id_map[top:bottom, left:right] != 0
        x, y = min((corners - low).tolist(), key=lambda corner: (corner[1], corner[0]))
        region = (covered & is_segment).astype(np.uint8)
        _, labels = cv2.connectedComponents(region, connectivity=4)
        covered = labels == labels[y, x]
        (inside,) = outline_parts(covered)
        outer, *holes = (
            [(x + left, y + top) for x, y in loop] for loop in (inside.outer, *inside.holes)
        )
        part = Part(outer, holes)
    return part, int(covered.sum())


def _simplified(parts: Sequence[Part]) -> Corners:
    """Return one polygon for all the parts with as few corners as the tolerances allow."""
    loops = [_simplify(loop) for part in parts for loop in (part.outer, *part.holes)]
    return [(float(x), float(y)) for x, y in join_loops(loops)]


def _simplify(loop: list[Point]) -> list[Point]:
    """Drop corners of a closed chain by Douglas and Peucker as long as it covers the same."""
    points = np.array(loop, np.int32)
    low = points.min(0)
    width, height = (points.max(0) - low).tolist()
    covered = rasterize((points - low).tolist(), (height, width))
    for tolerance in TOLERANCES:
        simple = cv2.approxPolyDP(points, tolerance, True)[:, 0]
        if len(simple) < 3:
            continue
        now = rasterize((simple - low).tolist(), (height, width))
        if (now & covered).sum() >= LOWEST_IOU * (now | covered).sum():
            return [(int(x), int(y)) for x, y in simple]
    return loop
