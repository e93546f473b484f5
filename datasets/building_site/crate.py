"""The crate of the embedded building-site data set: a wooden box of boards.

It is rendered as `things.py` says. The viewer sees its front and its lid from above, and one
side unless it stands face on. Coordinates of a face: `across` and `down` in pixels (h, w), 0 at
its middle; "half" lengths are in pixels too.
"""

import numpy as np

from building_site.shapes import Patch, axes, smooth_noise

# Fresh, old and dark wood, with the share of each.
WOODS = ([0.84, 0.66, 0.40], [0.66, 0.57, 0.44], [0.62, 0.45, 0.26])
WOOD_SHARES = (0.5, 0.25, 0.25)
GAP_TONE, EDGE_TONE, NAIL_TONE = 0.3, 0.55, 0.35


def render_crate(rng: np.random.Generator, scale: float, light: np.ndarray) -> Patch:
    """A crate, from flat to upright; `scale` is the longer of its height and its width."""
    shape = rng.uniform(0.7, 1.35)  # width to height, lid and side included
    height, width = scale * min(1.0, 1 / shape), scale * min(1.0, shape)
    lid = height * rng.uniform(0.14, 0.3)
    # How far the lid's back edge lies to the right, and how much narrower it is at each end.
    turn = width * rng.uniform(-0.28, 0.28)
    taper = width * rng.uniform(0.02, 0.09)
    right, left = max(turn - taper, 0.0), max(-turn - taper, 0.0)
    half_w, half_h = (width - right - left) / 2, (height - lid) / 2
    u, v = axes(width / 2, height / 2, rng.normal(0.0, 0.08))
    u, v = u + (right - left) / 2, v - lid / 2  # 0 at the middle of the front

    front = (np.abs(u) <= half_w) & (np.abs(v) <= half_h)
    back = (-half_h - v) / lid  # 0 at the lid's front edge, 1 at its back edge
    lid_half = half_w - taper * back
    top = (back > 0) & (back <= 1) & (np.abs(u - turn * back) <= lid_half)
    seen = right - left
    away = (u * np.sign(seen) - half_w) / max(abs(seen), 1e-6)
    side = (away > 0) & (away <= 1) & (np.abs(v + lid * away) <= half_h)

    wood = np.array(WOODS[rng.choice(len(WOODS), p=WOOD_SHARES)])
    hue = wood * (1 + rng.normal(0, 0.05)) + rng.normal(0, 0.02, 3)
    gap = rng.uniform(0.04, 0.16)
    lying = rng.random() < 0.7
    tone = (0.55 + 0.55 * light[2]) * _front(rng, u, v, (half_w, half_h), gap, lying)
    lid_tone = (0.8 + 0.5 * -light[1]) * _boards(rng, back - 0.5, u, 0.5, gap, 3)
    tone = np.where(top, lid_tone * np.where(back < 0.1, 1.12, 1.0), tone)
    facing = max(0.0, float(light[0] * np.sign(seen)))
    side_v = v + lid * away
    side_tone = (0.42 + 0.5 * facing) * _side(rng, away - 0.5, side_v, half_h, gap, abs(seen))
    tone = np.where(side, side_tone, tone)
    # The lid's shadow on the front, and the dark line of the corner.
    tone = np.where(front & (v < -half_h + max(2.0, 0.035 * scale)), tone * 0.6, tone)
    color = (tone[..., None] * hue).astype(np.float32)
    dirt = smooth_noise(rng, u.shape, 8) > rng.uniform(1.3, 2.3)
    color[dirt] = 0.65 * color[dirt] + 0.35 * np.float32([0.35, 0.29, 0.22])
    return Patch(color, front | top | side)


def _front(
    rng: np.random.Generator,
    across: np.ndarray,
    down: np.ndarray,
    halves: tuple[float, float],
    gap: float,
    lying: bool,
) -> np.ndarray:
    """Brightness (h, w) of the front: boards, a frame on them, nails, at times a brace.

    Args:
        rng: the image's generator.
        across, down: coordinates on the face.
        halves: half its width and half its height.
        gap: width of the gaps, as a share of a board's.
        lying: whether the boards lie rather than stand.
    """
    half_w, half_h = halves
    count = int(rng.integers(3, 6))
    if lying:
        tone = _boards(rng, down, across, half_h, gap, count)
        end, half_end, along, half_along = np.abs(across), half_w, down, half_h
    else:
        tone = _boards(rng, across, down, half_w, gap, count)
        end, half_end, along, half_along = np.abs(down), half_h, across, half_w
    bar = max(5.0, 0.3 * min(halves)) * rng.uniform(0.8, 1.1)
    brace = rng.choice(["none", "diagonal", "cross"], p=[0.4, 0.4, 0.2])
    lean = rng.choice([-1.0, 1.0])
    for sign in {"none": (), "diagonal": (lean,), "cross": (-1.0, 1.0)}[brace]:
        distance = np.abs(across * half_h - sign * down * half_w) / np.hypot(half_w, half_h)
        tone = _bar(rng, tone, distance - 0.45 * bar)
    # Two bars across the boards' ends, or a frame all around.
    if rng.random() < 0.5:
        tone = _bar(rng, tone, half_along - bar - np.abs(along))
    tone = _bar(rng, tone, half_end - bar - end)
    pitch = 2 * half_along / count
    nail = np.hypot(end - half_end + bar / 2, (along + half_along) % pitch - pitch / 2)
    return np.where(nail < max(1.3, 0.16 * bar), NAIL_TONE, tone)


def _side(
    rng: np.random.Generator,
    away: np.ndarray,
    down: np.ndarray,
    half_h: float,
    gap: float,
    width: float,
) -> np.ndarray:
    """Brightness (h, w) of the side, `away` -0.5 at the front corner and 0.5 at the back one."""
    tone = _boards(rng, down, away * width, half_h, gap, int(rng.integers(3, 6)))
    return _bar(rng, tone, (0.5 - 0.22 - np.abs(away)) * width)


def _boards(
    rng: np.random.Generator,
    across: np.ndarray,
    along: np.ndarray,
    half: float,
    gap: float,
    count: int,
) -> np.ndarray:
    """Brightness (h, w) of boards side by side, about 1, with their grain and dark gaps.

    Args:
        rng: the image's generator.
        across: coordinate across the boards.
        along: coordinate along them, in pixels.
        half: half the breadth of all together, in the unit of `across`.
        gap: width of a gap, as a share of a board's.
        count: number of boards.
    """
    place = (across + half) / (2 * half) * count
    board = np.clip(place, 0, count - 1).astype(int)
    tone = (1 + rng.normal(0, 0.09, count))[board]
    # Grain: lines along the board, bent a little.
    bend = 0.15 * np.sin(along / rng.uniform(12, 30) + 2.0 * board)
    tone = tone + 0.05 * np.sin((place + bend) * rng.uniform(14, 20) + 3.0 * board)
    tone = tone + 0.04 * smooth_noise(rng, place.shape, 3)
    edge = np.abs(place - np.round(place))
    inner = (place > 0.5) & (place < count - 0.5)
    return np.where(inner & (edge < gap / 2 + 0.03), GAP_TONE, tone)


def _bar(rng: np.random.Generator, tone: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Nail a bar over the boards where `distance` (h, w), in pixels, is negative."""
    wood = rng.normal(1.08, 0.06) + 0.04 * smooth_noise(rng, tone.shape, 3)
    tone = np.where(distance < 1.6, tone * EDGE_TONE, tone)
    return np.where(distance < 0, wood, tone)
