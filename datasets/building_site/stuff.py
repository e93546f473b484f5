"""The stuff of the embedded building-site data set: sky, a concrete wall, soil.

Legend: h, w size of the enlarged image. Colours are (h, w, 3) float32 RGB in 0..1.
"""

import cv2
import numpy as np

from building_site.shapes import smooth_noise

# How much larger the image is rendered than it is written, along each side.
ENLARGE = 2


def wall_mask(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Enlarged mask of concrete: a wall with steps or a slope, as high as the sky, or absent."""
    height, width = shape
    kind = rng.choice(["steps", "slope", "full", "none"], p=[0.55, 0.3, 0.07, 0.08])
    if kind == "none":
        return np.zeros(shape, bool)
    if kind == "full":
        return np.ones(shape, bool)
    x = np.arange(width)
    base = rng.uniform(0.12, 0.42)
    if kind == "slope":
        skyline = base + rng.uniform(-0.12, 0.12) * (x / width - 0.5) * 2
        skyline += 0.015 * smooth_noise(rng, (1, width), width / 6)[0]
    else:
        count = int(rng.integers(1, 5))
        cuts = np.sort(rng.uniform(0, width, count))
        levels = np.clip(base + rng.uniform(-0.14, 0.14, count + 1), 0.06, 0.5)
        skyline = levels[np.searchsorted(cuts, x)]
    return np.arange(height)[:, None] >= skyline[None] * height


def soil_mask(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Enlarged mask of soil: everything below a tilted, wavy line."""
    height, width = shape
    x = np.linspace(-1, 1, width)
    line = rng.uniform(0.52, 0.8) + rng.uniform(-0.07, 0.07) * x
    line += 0.03 * smooth_noise(rng, (1, width), width / 5)[0]
    line += 0.008 * smooth_noise(rng, (1, width), width / 24)[0]
    return np.arange(height)[:, None] >= line[None] * height


def render_stuff(
    rng: np.random.Generator, shape: tuple[int, int], walls: np.ndarray, soil: np.ndarray
) -> np.ndarray:
    """The enlarged image (h, w, 3) float32 without things."""
    # The sky has no fine detail: rendering it at the image's size is enough.
    sky = _render_sky(rng, (shape[0] // ENLARGE, shape[1] // ENLARGE))
    enlarged = cv2.resize(sky, shape[::-1], interpolation=cv2.INTER_LINEAR)
    grain = rng.standard_normal(shape, dtype=np.float32)
    np.copyto(enlarged, _render_concrete(rng, grain), where=walls[..., None])
    np.copyto(enlarged, _render_soil(rng, grain), where=soil[..., None])
    # Where the ground meets the wall it is darker.
    foot = cv2.blur(cv2.blur(soil.astype(np.float32), (7 * ENLARGE,) * 2), (7 * ENLARGE,) * 2)
    enlarged *= np.where(soil, np.float32(1.0), 1.0 - 0.35 * foot)[..., None]
    return enlarged


def _render_sky(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    upper = np.array(((0.36, 0.58, 0.86), (0.62, 0.68, 0.74), (0.48, 0.55, 0.78))[rng.integers(3)])
    lower = np.array(((0.78, 0.87, 0.95), (0.82, 0.84, 0.86), (0.95, 0.80, 0.66))[rng.integers(3)])
    down = np.linspace(0, 1.6, shape[0]).clip(0, 1)[:, None, None]
    sky = np.float32(upper * (1 - down) + lower * down)  # (h, 1, 3)
    clouds = smooth_noise(rng, shape, shape[1] / 6, 0.4) + 0.5 * smooth_noise(rng, shape, 10, 0.5)
    cover = np.clip(0.35 * clouds - np.float32(rng.uniform(-0.1, 0.3)), 0, 0.8)[..., None]
    return sky * (1 - cover) + np.float32(0.95) * cover


def _render_concrete(rng: np.random.Generator, grain: np.ndarray) -> np.ndarray:
    shape = height, width = grain.shape
    grey = rng.uniform(0.48, 0.68)
    tone = (
        np.float32(grey) + 0.03 * smooth_noise(rng, shape, 40) + 0.02 * smooth_noise(rng, shape, 6)
    )
    tone += 0.025 * np.minimum(smooth_noise(rng, shape, 8, 8.0), 0)  # rain streaks
    tone += 0.02 * grain
    pitch_x, pitch_y = (int(p * min(shape)) for p in rng.uniform(0.28, 0.6, 2))
    x = (np.arange(width) + rng.integers(pitch_x)) % pitch_x
    y = (np.arange(height) + rng.integers(pitch_y)) % pitch_y
    tone[:, x < ENLARGE] *= 0.78
    tone[y < ENLARGE] *= 0.78
    # Formwork leaves four round holes in each panel.
    hole_x = np.abs(np.abs(x - pitch_x / 2) - pitch_x / 4)[None]
    hole_y = np.abs(np.abs(y - pitch_y / 2) - pitch_y / 4)[:, None]
    tone[np.hypot(hole_x, hole_y) < 1.3 * ENLARGE] *= 0.6
    return tone[..., None] * np.float32([1.0, 0.99, 0.96])


def _render_soil(rng: np.random.Generator, grain: np.ndarray) -> np.ndarray:
    hue = np.array([0.50, 0.37, 0.24]) + rng.normal(0, 0.03, 3) + rng.normal(0, 0.03)
    shape = grain.shape
    tone = 1 + 0.10 * smooth_noise(rng, shape, 30, 0.4) + 0.10 * smooth_noise(rng, shape, 7, 0.6)
    tone += 0.12 * grain
    pebbles = smooth_noise(rng, shape, 3 * ENLARGE, 0.8)
    tone = np.where(pebbles > 1.7, tone * 1.35, np.where(pebbles < -1.7, tone * 0.6, tone))
    return tone[..., None] * np.float32(hue)
