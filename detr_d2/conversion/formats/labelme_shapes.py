"""Drawing labelme's shapes."""

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from PIL import Image

from detr_d2.data.image_io import UnreadableError
from detr_d2.data.segmentations import draw_polygons

# A line is as wide as labelme draws it by default; a point has its radius.
LINE_WIDTH, POINT_RADIUS = 10, 5
# The shapes, and how many points each needs.
POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1}
POINTS |= {"mask": 2, "points": 1}


def draw_shape(shape: Mapping[str, Any], size: tuple[int, int], where: str) -> np.ndarray:
    """Rasterise one shape: (H, W) bool.

    Raises:
        UnreadableError: a kind of shape that labelme does not have, or too few points.
    """
    kind = shape.get("shape_type") or "polygon"
    points = np.array(shape["points"], np.float64).reshape(-1, 2)
    if kind not in POINTS:
        raise UnreadableError(f"{where}: shape_type {kind!r}, allowed: {sorted(POINTS)}")
    if len(points) < POINTS[kind]:
        raise UnreadableError(f"{where}: {len(points)} points, a {kind} has {POINTS[kind]} or more")
    if kind == "mask":
        return _embedded_mask(shape, points, size, where)
    if kind in ("polygon", "rectangle"):
        if kind == "rectangle":
            (x0, y0), (x1, y1) = points[:2]
            points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        return draw_polygons([points.ravel().tolist()], *size)
    canvas = np.zeros(size, np.uint8)
    pixels = [(round(x), round(y)) for x, y in points]
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        cv2.circle(canvas, pixels[0], round(radius), 1, -1)
    elif kind in ("point", "points"):
        for pixel in pixels:
            cv2.circle(canvas, pixel, POINT_RADIUS, 1, -1)
    else:
        cv2.polylines(canvas, [np.array(pixels, np.int32)], False, 1, LINE_WIDTH)
    return canvas.view(bool)


def _embedded_mask(
    shape: Mapping[str, Any], points: np.ndarray, size: tuple[int, int], where: str
) -> np.ndarray:
    """A mask shape: a PNG of the rectangle from its first to its second point, both inclusive."""
    try:
        with Image.open(io.BytesIO(decode_embedded(shape.get("mask"), where))) as png:
            mask = np.asarray(png.convert("L")) > 0
    except (OSError, SyntaxError) as error:
        raise UnreadableError(f"{where}: its mask is no image ({error})") from error
    left, top = (round(value) for value in points[0])
    canvas = np.zeros(size, bool)
    height, width = mask.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise UnreadableError(f"{where}: its mask of {width}x{height} at {left},{top} is outside")
    canvas[top : top + height, left : left + width] = mask
    return canvas


def decode_embedded(text: Any, where: str) -> bytes:
    """The bytes of an image that a file holds as base64.

    Raises:
        UnreadableError: it is none; `where` names the place.
    """
    try:
        return base64.b64decode(text, validate=False)
    except (TypeError, binascii.Error) as error:
        raise UnreadableError(f"{where}: embedded image cannot be decoded ({error})") from error
