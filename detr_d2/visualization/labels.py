"""Place labels in a picture so that none lies over another or hides what it names."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from detr_d2.visualization.palette import Color
from detr_d2.visualization.text import Box, draw_pill, pill_box

# A label may cover at most this share of the segment that it names.
LABEL_SHARE = 0.6
# A segment's inner circle must have at least this radius, in heights of the letters.
ROOM = 0.6


def label_segments(
    picture: np.ndarray,
    index_map: np.ndarray,
    texts: Sequence[Sequence[str]],
    colors: Sequence[Color],
) -> np.ndarray:
    """Label segments at their innermost points, large segments first.

    Args:
        picture: (h, w, 3) uint8 RGB.
        index_map: (h, w) int32, place of each pixel's segment in the lists, -1 = none.
        texts: of each segment, best first: the first one that has room is drawn, or none.
        colors: of each segment, for the label's rim.

    Returns:
        A labelled copy.
    """
    labels = _Labels(picture)
    areas = np.bincount(index_map.reshape(-1) + 1, minlength=len(texts) + 1)[1:]
    for index in np.argsort(-areas):
        point, room = _innermost(index_map == index)
        if room >= ROOM * labels.size:
            limit = LABEL_SHARE * areas[index]
            any(labels.place(text, point, colors[index], limit) for text in texts[index])
    return labels.drawn()


def label_corners(
    picture: np.ndarray, corners: np.ndarray, texts: Sequence[str], colors: Sequence[Color]
) -> np.ndarray:
    """Put labels with their upper left corners at these points (S, 2) xy of a copy."""
    labels = _Labels(picture)
    for (x, y), text, color in zip(corners, texts, colors, strict=True):
        left, top, right, bottom = pill_box(text, labels.size, (0, 0))
        labels.place(text, (x + (right - left) / 2, y + (bottom - top) / 2), color)
    return labels.drawn()


class _Labels:
    """The labels of one picture; `size` is the height of their letters in pixels."""

    def __init__(self, picture: np.ndarray) -> None:
        self.size = int(np.clip(picture.shape[1] // 34, 11, 22))
        self._canvas = Image.fromarray(picture)
        self._draw = ImageDraw.Draw(self._canvas, "RGBA")
        self._taken: list[Box] = []

    def place(
        self, text: str, center: tuple[float, float], color: Color, limit: float = math.inf
    ) -> bool:
        """Draw a label around a point; False if it is over `limit` pixels or has no place."""
        box = _inside(pill_box(text, self.size, center), self._canvas.size)
        if box is None or (box[2] - box[0]) * (box[3] - box[1]) > limit:
            return False
        if any(_overlap(box, other) for other in self._taken):
            return False
        draw_pill(self._draw, box, text, self.size, color)
        self._taken.append(box)
        return True

    def drawn(self) -> np.ndarray:
        return np.asarray(self._canvas)


def _innermost(mask: np.ndarray) -> tuple[tuple[int, int], float]:
    """The point (x, y) of a mask (h, w) that is farthest from its edge, and how far that is."""
    # A border of zeros lets the rim of the picture count as an edge.
    wide = np.pad(mask, 1).astype(np.uint8)
    _, room, _, (x, y) = cv2.minMaxLoc(cv2.distanceTransform(wide, cv2.DIST_L2, 3))
    return (x - 1, y - 1), room


def _inside(box: Box, size: tuple[int, int]) -> Box | None:
    """Move a box into a picture of this width and height; None if it is too large for it."""
    left, top, right, bottom = box
    if right - left >= size[0] or bottom - top >= size[1]:
        return None
    dx = max(0, -left) - max(0, right - size[0] + 1)
    dy = max(0, -top) - max(0, bottom - size[1] + 1)
    return left + dx, top + dy, right + dx, bottom + dy


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
