"""COCO instances out of a panoptic map: boxes, areas and masks of its segments.

Coordinates are those of COCO: pixel (row r, column c) covers x from c to c + 1, y from r to r + 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask


def coco_instances(
    ids: np.ndarray,
    segments: Iterable[Mapping[str, Any]],
    category_ids: Mapping[int, int],
    polygons: bool,
) -> list[dict[str, Any]]:
    """Turn the segments of one image into COCO annotations.

    Args:
        ids: (H, W) integers, the segment of each pixel.
        segments: `id`, `category_id` and, for crowds, `iscrowd` 1 of each.
        category_ids: the category id to write, by that of the segment; others are skipped.
        polygons: masks as polygons, exact to the pixel; else, and for crowds, as compressed RLE.

    Returns:
        `category_id`, `iscrowd`, `segmentation`, `area` (pixels) and `bbox` (x, y, width, height)
        of each segment in their order, counted from the map. A segment that the map does not show
        is skipped.
    """
    instances = []
    for segment in segments:
        if segment["category_id"] not in category_ids:
            continue
        mask = ids == segment["id"]
        rle = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
        area, crowd = int(coco_mask.area(rle)), int(segment.get("iscrowd", 0))
        if area:
            text = {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}
            instances.append(
                {
                    "category_id": category_ids[segment["category_id"]],
                    "iscrowd": crowd,
                    "segmentation": outlines(mask) if polygons and not crowd else text,
                    "area": area,
                    "bbox": coco_mask.toBbox(rle).tolist(),
                }
            )
    return instances


Point = tuple[int, int]


@dataclass
class Part:
    """A part of a mask whose pixels hang together by edges: its outline and those of its holes.

    Each is a closed chain of corners (x, y).
    """

    outer: list[Point]
    holes: list[list[Point]] = field(default_factory=list)

    def joined(self) -> list[Point]:
        """Return one outline that has the holes too.

        Each hole is joined to the outer outline by a line there and back, which even-odd filling
        does not see.
        """
        return join_loops([self.outer, *self.holes])


def outlines(mask: np.ndarray) -> list[list[float]]:
    """Outline a mask (H, W) bool with polygons [x0, y0, x1, y1, ...], one for each of its parts.

    A hole is joined to the outline around it, see `Part.joined`.
    """
    return [[float(v) for point in part.joined() for v in point] for part in outline_parts(mask)]


def outline_parts(mask: np.ndarray) -> list[Part]:
    """Outline a mask (H, W) bool exactly. Parts that touch at a corner only are parts apart."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    piece = np.ascontiguousarray(mask[top : top + height, left : left + width])
    _, labels = cv2.connectedComponents(piece.view(np.uint8), connectivity=4)
    parts: dict[int, Part] = {}
    holes: list[tuple[int, list[Point]]] = []
    for loop in _loops(piece):
        label = int(labels[_pixel_beside(loop)])
        corners = _corners([(x + left, y + top) for x, y in loop])
        if _signed_area(corners) > 0:
            parts[label] = Part(corners)
        else:
            holes.append((label, corners))
    for label, corners in holes:
        parts[label].holes.append(corners)
    return list(parts.values())


def join_loops(loops: Sequence[list[Point]]) -> list[Point]:
    """Join closed chains of corners to the first of them by short lines there and back."""
    first, *others = loops
    joined = list(first)
    for loop in others:
        i = _nearest(joined, loop[0])
        j = _nearest(loop, joined[i])
        joined[i + 1 : i + 1] = [*loop[j:], *loop[: j + 1], joined[i]]
    return joined


def _nearest(loop: list[Point], point: Point) -> int:
    """Index of the corner that is nearest to a point."""
    return int(np.square(np.array(loop) - point).sum(1).argmin())


def _loops(piece: np.ndarray) -> list[list[Point]]:
    """Closed chains of pixel edges, the inside always to the right."""
    padded = np.pad(piece, 1)
    inside = padded[1:-1, 1:-1]
    ways: dict[Point, list[Point]] = {}
    # Neighbour that must be outside, start and end of the edge: (dx, dy) from the pixel's corner.
    for neighbour, start, end in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    ):
        rows, columns = np.nonzero(inside & ~neighbour)
        for r, c in zip(rows.tolist(), columns.tolist(), strict=True):
            ways.setdefault((c + start[0], r + start[1]), []).append((c + end[0], r + end[1]))
    loops = []
    while ways:
        first = next(iter(ways))
        loop, here = [first], _leave(ways, first, None)
        while here != first:
            loop.append(here)
            here = _leave(ways, here, loop[-2])
        loops.append(loop)
    return loops


def _leave(ways: dict[Point, list[Point]], here: Point, before: Point | None) -> Point:
    """Take an unused edge from a point; where two parts touch, turn right and stay with one."""
    choices = ways[here]
    chosen = 0
    if len(choices) > 1 and before is not None:
        right = (before[1] - here[1], here[0] - before[0])
        chosen = choices.index((here[0] + right[0], here[1] + right[1]))
    point = choices.pop(chosen)
    if not choices:
        del ways[here]
    return point


def _corners(loop: list[Point]) -> list[Point]:
    """Drop the points on straight stretches."""
    kept = []
    for i, (x, y) in enumerate(loop):
        (x0, y0), (x1, y1) = loop[i - 1], loop[(i + 1) % len(loop)]
        if (x - x0) * (y1 - y) != (y - y0) * (x1 - x):
            kept.append((x, y))
    return kept


def _signed_area(loop: list[Point]) -> int:
    pairs = zip(loop, loop[1:] + loop[:1], strict=True)
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)


def _pixel_beside(loop: list[Point]) -> tuple[int, int]:
    """Row and column of the pixel inside, to the right of the first edge of a chain."""
    (x, y), (x1, y1) = loop[:2]
    dx, dy = x1 - x, y1 - y
    return y + (dy + dx - 1) // 2, x + (dx - dy - 1) // 2
