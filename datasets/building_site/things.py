"""The things of the embedded building-site data set: brick, pipe, barrel; the crate is apart.

Each is rendered by formula in its own axes (u along it, v across it, in pixels of the enlarged
image) and returned as a patch: colours (h, w, 3) float32 RGB in 0..1 and a mask (h, w) bool, the
thing's centre in the middle. The light is a unit vector (x, y, z), y down and z to the viewer.
"""

import numpy as np

from building_site.crate import render_crate
from building_site.shapes import Patch, axes, rounded_box, shade, smooth_noise


def render_brick(rng: np.random.Generator, scale: float, light: np.ndarray) -> Patch:
    """A reddish brick with holes, a frog or neither; `scale` is its length in pixels."""
    half_u = 0.5 * scale
    half_v = half_u / rng.uniform(1.75, 2.4)
    angle = rng.normal(0.0, 0.35) if rng.random() < 0.75 else rng.uniform(-1.57, 1.57)
    u, v = axes(half_u, half_v, angle)
    corner = 0.12 * half_v
    mask = rounded_box(u, v, half_u, half_v, corner) <= 0
    hue = np.array([0.66, 0.29, 0.20]) + rng.normal(0, [0.05, 0.03, 0.025])
    tone = 1.0 + 0.07 * smooth_noise(rng, u.shape, 5) + 0.05 * smooth_noise(rng, u.shape, 2)
    # The strip at the lower edge is the side face, turned away from the light.
    side = v > half_v * rng.uniform(0.45, 0.65)
    tone = tone * np.where(side, 0.66, 1.0 + 0.12 * light[0] * u / half_u)
    edge = np.abs(rounded_box(u, v, half_u, half_v, corner)) < 0.07 * half_v
    tone = np.where(edge, tone * 0.85, tone)
    tone = np.where(_brick_holes(rng, u, v + 0.22 * half_v, half_u, half_v) & ~side, 0.3, tone)
    color = shade(hue, tone)
    mortar = smooth_noise(rng, u.shape, 7) > rng.uniform(1.1, 2.0)
    color[mortar] = 0.5 * color[mortar] + 0.5 * np.float32([0.72, 0.70, 0.66])
    return Patch(color, mask)


def _brick_holes(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, half_u: float, half_v: float
) -> np.ndarray:
    """Where the brick's upper face is open: rows of holes, one long hollow, or nowhere."""
    kind = rng.choice(["holes", "frog", "plain"], p=[0.6, 0.2, 0.2])
    if kind == "plain":
        return np.zeros(u.shape, bool)
    if kind == "frog":
        return rounded_box(u, v, 0.6 * half_u, 0.28 * half_v, 0.2 * half_v) <= 0
    columns = int(rng.integers(3, 6))
    pitch = 1.7 * half_u / columns
    along = np.abs((u + 0.85 * half_u) % pitch - pitch / 2)
    inside = np.abs(u) < 0.85 * half_u
    if columns == 3:
        return inside & (np.hypot(along, v) < 0.32 * half_v)
    across = np.abs(np.abs(v) - 0.32 * half_v)
    return inside & (np.hypot(along, across) < 0.17 * half_v)


def render_pipe(rng: np.random.Generator, scale: float, light: np.ndarray) -> Patch:
    """A long grey-blue pipe at any angle, glossy, one end open; `scale` as for the brick."""
    half_u = 0.5 * scale
    half_v = half_u * rng.uniform(0.2, 0.3)
    angle = rng.uniform(-np.pi, np.pi)
    u, v = axes(1.05 * half_u, 1.2 * half_v, angle)
    collar = np.abs(u) > half_u * rng.uniform(0.78, 0.9) if rng.random() < 0.5 else u > 2 * half_u
    radius = np.where(collar, 1.15 * half_v, half_v)
    across = np.clip(v / radius, -1, 1)
    bulge = np.sqrt(1 - across**2)
    end = 0.45 * half_v
    mask = (np.abs(v) <= radius) & (np.abs(u) <= half_u - end + end * bulge)
    hue = np.array([0.45, 0.55, 0.66]) + rng.normal(0, 0.035, 3) + rng.normal(0, 0.05)
    facing = across * (-np.sin(angle) * light[0] + np.cos(angle) * light[1]) + bulge * light[2]
    tone = 0.45 + 0.7 * np.clip(facing, 0, None)
    tone = tone * (1 + 0.05 * smooth_noise(rng, u.shape, 4)) * np.where(collar, 0.85, 1.0)
    color = shade(hue, tone)
    color += (rng.uniform(0.3, 0.6) * np.clip(facing, 0, 1) ** 18)[..., None]
    # The near end is an ellipse: a bright rim around the dark inside.
    opening = np.hypot((u - half_u + end) / end, v / radius)
    color[opening < 1.0] = np.clip(1.25 * hue, 0, 1)
    color[opening < 0.78] = 0.22 * hue
    return Patch(color.astype(np.float32), mask)


BARREL_HUES = ([0.88, 0.68, 0.12], [0.16, 0.52, 0.26], [0.12, 0.30, 0.72])


def render_barrel(rng: np.random.Generator, scale: float, light: np.ndarray) -> Patch:
    """An upright yellow, green or blue barrel with hoops and a lid; `scale` is its height."""
    half_h = 0.5 * scale
    half_w = half_h * rng.uniform(0.58, 0.76)
    angle = rng.normal(0.0, 0.06)
    u, v = axes(half_w * 1.1, half_h * 1.05, angle)  # u across the barrel here, v down it
    lid = half_w * rng.uniform(0.28, 0.42)
    width = half_w * (1 + rng.uniform(0, 0.08) * (1 - (v / half_h) ** 2))
    across = np.clip(u / width, -1, 1)
    bulge = np.sqrt(1 - across**2)
    body = (np.abs(u) <= width) & (v >= -half_h + lid) & (v <= half_h - lid + lid * bulge)
    top = np.hypot(u / half_w, (v + half_h - lid) / lid)
    hue = np.array(BARREL_HUES[rng.integers(3)]) + rng.normal(0, 0.035, 3)
    facing = np.clip(across * light[0] + bulge * light[2], 0, None)
    tone = (0.4 + 0.75 * facing) * (1 + 0.05 * smooth_noise(rng, u.shape, 5, 2.0))
    # Hoops follow the lower rim's curve; each is a light line above a dark one.
    level = (v - lid * bulge) / half_h
    hoop_width = max(0.045, 1.4 / half_h)
    for hoop in (-0.32, 0.28):
        tone = np.where(np.abs(level - hoop) < hoop_width, tone * 1.3, tone)
        tone = np.where(np.abs(level - hoop - 1.6 * hoop_width) < hoop_width, tone * 0.6, tone)
    color = shade(hue, tone)
    if rng.random() < 0.35:
        label = (np.abs(across - rng.uniform(-0.3, 0.3)) < 0.35) & (np.abs(level + 0.02) < 0.16)
        color[label] = np.float32([0.88, 0.87, 0.82]) * tone[label, None]
    rust = (smooth_noise(rng, u.shape, 6, 2.0) > rng.uniform(1.4, 2.4)) & (top > 1)
    color[rust] = 0.5 * color[rust] + 0.5 * np.float32([0.42, 0.24, 0.14])
    color[top <= 1] = np.clip(1.15 * hue, 0, 1)
    color[top <= 0.85] = 0.85 * hue
    color[np.hypot(u / half_w - 0.4, (v + half_h - lid) / lid) < 0.2] = 0.3 * hue
    return Patch(color, body | (top <= 1))


RENDERERS = {
    "brick": render_brick,
    "pipe": render_pipe,
    "barrel": render_barrel,
    "crate": render_crate,
}
