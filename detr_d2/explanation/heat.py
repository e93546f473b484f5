"""Colour maps of numbers, alone or over an image. Legend: (h, w) cells, (H, W) pixels of a tile."""

import cv2
import matplotlib
import numpy as np

# How much of the image shows where a map is 0.
IMAGE_SHARE = 0.55


def tile(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale a picture (h, w, 3) to a tile: cells stay sharp, images get smooth."""
    way = cv2.INTER_NEAREST if image.shape[1] < width else cv2.INTER_AREA
    return cv2.resize(image, (width, height), interpolation=way)


def heat(values: np.ndarray, name: str = "magma") -> np.ndarray:
    """Colours of values (h, w) from 0 to their largest: uint8 (h, w, 3)."""
    return _colors(values / max(float(values.max()), 1e-12), name)


def signed_heat(values: np.ndarray) -> np.ndarray:
    """Colours of values (h, w) around 0, which is white: uint8 (h, w, 3)."""
    limit = max(float(np.quantile(np.abs(values), 0.98)), 1e-12)
    return _colors((values / limit + 1) / 2, "RdBu_r")


def grey(values: np.ndarray) -> np.ndarray:
    """Grey levels of values (h, w) from their smallest to their largest: uint8 (h, w, 3)."""
    return _colors((values - values.min()) / max(float(np.ptp(values)), 1e-12), "gray")


def heat_over(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lay weights (h, w) over an image (H, W, 3), which is dim and grey where they are small."""
    height, width = image.shape[:2]
    strength = np.clip(values / max(float(values.max()), 1e-12), 0, 1).astype(np.float32)
    strength = cv2.resize(strength, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    base = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, 2) * IMAGE_SHARE
    share = np.sqrt(strength)[..., None]
    return ((1 - share) * base + share * _colors(strength, "inferno")).astype(np.uint8)


def _colors(values: np.ndarray, name: str) -> np.ndarray:
    colors = matplotlib.colormaps[name](np.clip(values, 0, 1))
    return (colors[..., :3] * 255).round().astype(np.uint8)
