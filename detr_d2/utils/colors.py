"""Colours of classes that have none of their own."""

import functools

import cv2
import numpy as np

# Candidates: a grid in RGB, without colours that look grey, black or white (CIELAB units), since
# void is grey and outlines are white.
STEPS = 18
LIGHTNESS, CHROMA = (35, 85), 22
FIRST = (214, 60, 52)
# Further ones repeat.
MOST = 512


def default_color(index: int) -> tuple[int, int, int]:
    """RGB in 0..255 of the class at this place in a list, far from those of all before it."""
    count = next((n for n in (64, MOST) if index < n), MOST)
    r, g, b = _distinct_colors(count)[index % MOST]
    return r, g, b


@functools.cache
def _distinct_colors(count: int) -> list[list[int]]:
    """Choose colours one after the other, each as far as possible from the nearest before it.

    Distances are those of CIELAB with the chroma compressed, as the CIE's later formulas do:
    between vivid colours a difference looks smaller than between pale ones.
    """
    levels = np.linspace(0, 255, STEPS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    rgb = np.concatenate([np.array([FIRST], np.uint8), grid])
    lab = cv2.cvtColor(rgb[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    vivid = (lightness > LIGHTNESS[0]) & (lightness < LIGHTNESS[1]) & (chroma > CHROMA)
    compressed = np.log1p(0.045 * chroma[vivid]) / (0.045 * chroma[vivid])
    rgb, lab = (
        rgb[vivid],
        lab[vivid] * np.stack([np.ones(len(compressed)), compressed, compressed], 1),
    )
    chosen = [0]
    nearest = np.full(len(lab), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return rgb[chosen].tolist()
