"""Labels in pictures: none lies over another or hides what it names.

The font is always there and knows most alphabets.
"""

import functools
import math
import os
from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from detr_d2.visualization.palette import Color

Box = tuple[int, int, int, int]

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
        texts: of each segment, best first: the first one that has room is shown, or none.
        colors: of each segment, for the label's outline.

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
    return labels.picture()


def label_corners(
    picture: np.ndarray, corners: np.ndarray, texts: Sequence[str], colors: Sequence[Color]
) -> np.ndarray:
    """Put labels with their upper left corners at these points (S, 2) xy of a copy."""
    labels = _Labels(picture)
    for (x, y), text, color in zip(corners, texts, colors, strict=True):
        left, top, right, bottom = pill_box(text, labels.size, (0, 0))
        labels.place(text, (x + (right - left) / 2, y + (bottom - top) / 2), color)
    return labels.picture()


class _Labels:
    """The labels of one picture; `size` is the height of their letters in pixels."""

    def __init__(self, picture: np.ndarray) -> None:
        self.size = int(np.clip(picture.shape[1] // 34, 11, 22))
        self._image = Image.fromarray(picture)
        self._draw = ImageDraw.Draw(self._image, "RGBA")
        self._taken: list[Box] = []

    def place(
        self, text: str, center: tuple[float, float], color: Color, limit: float = math.inf
    ) -> bool:
        """Add a label around a point; False if it is over `limit` pixels or has no place."""
        box = _inside(pill_box(text, self.size, center), self._image.size)
        if box is None or (box[2] - box[0]) * (box[3] - box[1]) > limit:
            return False
        if any(_overlap(box, other) for other in self._taken):
            return False
        render_pill(self._draw, box, text, self.size, color)
        self._taken.append(box)
        return True

    def picture(self) -> np.ndarray:
        return np.asarray(self._image)


def _innermost(mask: np.ndarray) -> tuple[tuple[int, int], float]:
    """The point (x, y) of a mask (h, w) that is farthest from its edge, and how far that is."""
    # A border of zeros lets the border of the picture count as an edge.
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


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, which Detectron2 depends on."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts/ttf", name), size)


def text_size(text: str, size: int, bold: bool = False) -> tuple[int, int]:
    """Width of a text and height of its line, in pixels."""
    chosen = font(size, bold)
    ascent, descent = chosen.getmetrics()
    return round(chosen.getlength(text)), ascent + descent


def pill_box(text: str, size: int, center: tuple[float, float]) -> Box:
    """Where a label of this text around this point would lie: left, top, right, bottom."""
    width, height = text_size(text, size)
    pad = max(2, size // 3)
    left = round(center[0] - width / 2) - pad
    top = round(center[1] - height / 2) - 1
    return left, top, left + width + 2 * pad, top + height + 2


def render_pill(draw: ImageDraw.ImageDraw, box: Box, text: str, size: int, mark: Color) -> None:
    """White text on a dark rounded label outlined in the colour of what it names.

    Args:
        draw: of an RGBA image, so that the picture shines through.
        box: as `pill_box` gave it.
    """
    radius = (box[3] - box[1]) // 3
    draw.rounded_rectangle(box, radius, fill=(18, 20, 24, 205), outline=(*mark, 255), width=1)
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    draw.text(middle, text, font=font(size), fill=(255, 255, 255, 255), anchor="mm")
