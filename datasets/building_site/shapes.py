"""Patches, axes and noise, of which the images of the building-site data set are made."""

from typing import NamedTuple

import cv2
import numpy as np


class Patch(NamedTuple):
    """A rendered thing: `color` (h, w, 3) float32 in 0..1, `mask` (h, w) bool."""

    color: np.ndarray
    mask: np.ndarray


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, stretch: float = 1.0
) -> np.ndarray:
    """Soft noise (h, w) float32 of mean about 0 and deviation about 1.

    Args:
        rng: the image's generator.
        shape: (h, w).
        cell: size of a blob across, in pixels.
        stretch: how many times longer blobs are along the height.
    """
    height, width = shape
    rows = max(2, round(height / (cell * stretch)) + 1)
    cols = max(2, round(width / cell) + 1)
    coarse = rng.standard_normal((rows, cols), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def axes(half_u: float, half_v: float, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The thing's coordinates u, v (h, w) of every pixel of a patch that holds it, turned."""
    cos, sin = np.cos(angle), np.sin(angle)
    half_x = int(np.ceil(half_u * abs(cos) + half_v * abs(sin))) + 2
    half_y = int(np.ceil(half_u * abs(sin) + half_v * abs(cos))) + 2
    x = np.arange(-half_x, half_x + 1, dtype=np.float32)[None, :]
    y = np.arange(-half_y, half_y + 1, dtype=np.float32)[:, None]
    return x * np.float32(cos) + y * np.float32(sin), y * np.float32(cos) - x * np.float32(sin)


def rounded_box(
    u: np.ndarray, v: np.ndarray, half_u: float, half_v: float, corner: float
) -> np.ndarray:
    """Signed distance (h, w) to a box with round corners, negative inside."""
    du, dv = np.abs(u) - half_u + corner, np.abs(v) - half_v + corner
    outside = np.hypot(np.maximum(du, 0), np.maximum(dv, 0))
    return outside + np.minimum(np.maximum(du, dv), 0) - corner


def shade(hue: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Colours (h, w, 3) of one hue (3,) at the given brightness (h, w)."""
    return (tone[..., None] * hue).astype(np.float32)
