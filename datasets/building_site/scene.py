"""Synthesize one image of the embedded building-site data set with its exact segments.

The scene is planned first (where everything is and what hides what), then rendered back to front
at twice the size and shrunk, so that edges look natural while the id map stays exact: a pixel
belongs to the foremost segment that covers at least half of it.

Legend: H, W size of the image; the enlarged image is ENLARGE times as large.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from building_site.classes import STUFF, THINGS
from building_site.shapes import Patch, smooth_noise
from building_site.stuff import ENLARGE, render_stuff, soil_mask, wall_mask
from building_site.things import RENDERERS

MIN_SIDE = 64
MIN_PIXELS = 40
MIN_VISIBLE = 0.5
MAX_THINGS = 6
# The length (a barrel's height) of a thing as a share of the image's shorter side.
SIZES = {
    "brick": (0.25, 0.46),
    "pipe": (0.4, 0.75),
    "barrel": (0.28, 0.56),
    "crate": (0.28, 0.56),
}
PLACEMENT_TRIES = 40


class Placed(NamedTuple):
    """A thing of the scene: its class, its patch, and its upper left corner, enlarged."""

    name: str
    patch: Patch
    x: int
    y: int


class Scene(NamedTuple):
    """A synthetic image and its ground truth.

    `image` (H, W, 3) uint8 RGB; `labels` (H, W) int32: 0 = void, n = `classes[n - 1]`.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: list[str]


def synthesize(
    rng: np.random.Generator, width: int, height: int, names: Sequence[str] = THINGS
) -> Scene:
    """Synthesize a scene with 1 to 6 things; the same generator state gives the same image.

    Each thing's class is sampled from `names`, where one that is there twice has twice the chance.

    Raises:
        ValueError: a side is below MIN_SIDE, too small for the things to be told apart.
    """
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"size {width}x{height}: each side must be at least {MIN_SIDE}")
    shape = (height * ENLARGE, width * ENLARGE)
    light = _light(rng)
    walls = wall_mask(rng, shape)
    soil = soil_mask(rng, shape)
    things, labels = _place_things(rng, light, _stuff_labels(walls, soil), names)
    enlarged = render_stuff(rng, shape, walls, soil)
    solid = walls | soil
    for thing in things:
        _render_thing(enlarged, solid, thing, light)
    image = _finish(rng, enlarged, width, height)
    labels, classes = _number(labels, [*STUFF, *(thing.name for thing in things)])
    return Scene(image, labels, classes)


def _light(rng: np.random.Generator) -> np.ndarray:
    """Unit vector to the light: from the left or right, mostly above, towards the viewer."""
    vector = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.8, -0.25), rng.uniform(0.5, 0.9)])
    return vector / np.linalg.norm(vector)


def _stuff_labels(walls: np.ndarray, soil: np.ndarray) -> np.ndarray:
    """Labels (H, W) int32 of the stuff alone: 1 sky, 2 concrete, 3 soil."""
    labels = np.where(_half_covered(walls), np.int32(2), np.int32(1))
    labels[_half_covered(soil)] = 3
    return labels


def _half_covered(mask: np.ndarray) -> np.ndarray:
    """Which pixels of the image an enlarged mask covers by half or more."""
    size = (mask.shape[1] // ENLARGE, mask.shape[0] // ENLARGE)
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return share >= 0.5


def _place_things(
    rng: np.random.Generator, light: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> tuple[list[Placed], np.ndarray]:
    """Place things back to front, none hiding itself or another too far.

    Returns:
        The things in rendering order, and the labels (H, W) with number 4 for the first thing.
    """
    # Two or three most often: MAX_THINGS of them leave little of the stuff to see.
    wanted = 1 + int(rng.binomial(MAX_THINGS - 1, 0.4))
    ground = 1 - float((labels == len(STUFF)).mean())
    # Further back means higher up and smaller.
    depths = np.sort(rng.uniform(0, 1, wanted))
    things: list[Placed] = []
    areas: list[int] = []
    for depth in depths:
        for _ in range(PLACEMENT_TRIES):
            thing = _propose(rng, light, labels.shape, ground, float(depth), names)
            covered = _on_image(thing, labels.shape)
            candidate = np.where(covered, np.int32(len(STUFF) + 1 + len(things)), labels)
            full = [*areas, int(thing.patch.mask.sum()) // ENLARGE**2]
            seen = np.bincount(candidate.ravel(), minlength=len(STUFF) + 1 + len(full))
            seen = seen[len(STUFF) + 1 :]
            if (seen >= np.maximum(MIN_PIXELS, MIN_VISIBLE * np.array(full))).all():
                things, areas, labels = [*things, thing], full, candidate
                break
    return things, labels


def _propose(
    rng: np.random.Generator,
    light: np.ndarray,
    shape: tuple[int, int],
    ground: float,
    depth: float,
    names: Sequence[str],
) -> Placed:
    """A thing at a random place; it stands `depth` of the way from the soil's edge to the front.

    Args:
        rng: the image's generator.
        light: unit vector to the light.
        shape: (H, W).
        ground: where the soil begins, as a share of H.
        depth: 0 = furthest back, 1 = in front.
        names: the classes to choose from.
    """
    height, width = shape
    name = names[rng.integers(len(names))]
    low, high = SIZES[name]
    share = rng.uniform(low, high) * (0.8 + 0.2 * depth)
    patch = RENDERERS[name](rng, share * min(height, width) * ENLARGE, light)
    centre_x = rng.uniform(0.04, 0.96) * width * ENLARGE
    foot = ground + 0.03 + (1.04 - ground) * depth + rng.uniform(-0.04, 0.04)
    if name == "pipe":
        foot -= rng.choice([0.0, 0.15])  # some lean on the wall
    rows, cols = patch.mask.shape
    return Placed(name, patch, round(centre_x - cols / 2), round(foot * height * ENLARGE - rows))


def _on_image(thing: Placed, shape: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W) bool of the image that the thing covers."""
    enlarged = np.zeros((shape[0] * ENLARGE, shape[1] * ENLARGE), bool)
    there, own = _overlap(thing, enlarged.shape)
    enlarged[there] = thing.patch.mask[own]
    return _half_covered(enlarged)


def _overlap(
    thing: Placed, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the enlarged image under the patch, and that part in the patch's own pixels."""
    rows, cols = thing.patch.mask.shape
    top, bottom = max(0, thing.y), max(0, min(shape[0], thing.y + rows))
    left, right = max(0, thing.x), max(0, min(shape[1], thing.x + cols))
    there = (slice(top, bottom), slice(left, right))
    own = (slice(top - thing.y, bottom - thing.y), slice(left - thing.x, right - thing.x))
    return there, own


def _render_thing(
    enlarged: np.ndarray, solid: np.ndarray, thing: Placed, light: np.ndarray
) -> None:
    """Render the thing's soft shadow and then the thing, in place.

    Args:
        enlarged: (h, w, 3) float32.
        solid: (h, w) bool, where a shadow can fall: not on the sky. The thing is added to it.
        thing: to be rendered.
        light: unit vector to the light.
    """
    reach = max(3, round(0.15 * min(thing.patch.mask.shape)))
    padded = np.pad(thing.patch.mask.astype(np.float32), reach)
    box = (reach, reach)
    shade = 0.5 * cv2.blur(cv2.blur(padded, box), box)
    shadow = Placed(
        thing.name,
        Patch(thing.patch.color, shade),
        round(thing.x - reach - 1.2 * reach * light[0]),
        round(thing.y - reach - 0.8 * reach * light[1]),
    )
    there, own = _overlap(shadow, enlarged.shape[:2])
    enlarged[there] *= 1 - (shade[own] * solid[there])[..., None]
    there, own = _overlap(thing, enlarged.shape[:2])
    inside = thing.patch.mask[own]
    np.copyto(enlarged[there], thing.patch.color[own], where=inside[..., None])
    solid[there] |= inside


def _finish(rng: np.random.Generator, enlarged: np.ndarray, width: int, height: int) -> np.ndarray:
    """Light the scene, shrink it to the image and add the camera's noise: (H, W, 3) uint8."""
    image = cv2.resize(enlarged, (width, height), interpolation=cv2.INTER_AREA)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    direction, strength = rng.uniform(-np.pi, np.pi), rng.uniform(0, 0.18)
    lamp = np.float32(1) + strength * (np.cos(direction) * x + np.sin(direction) * y)
    clouds = smooth_noise(rng, (height, width), min(width, height) / 2)
    lamp -= rng.uniform(0.0, 0.3) / (1 + np.exp(-6 * (clouds - 0.6)))
    lamp *= 1 - rng.uniform(0, 0.12) * (x**2 + y**2)
    cast = rng.uniform(0.72, 1.18) * (1 + rng.normal(0, 0.04, 3))
    image = image * lamp[..., None] * cast.astype(np.float32)
    image += rng.uniform(0.004, 0.018) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _number(labels: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Renumber the labels without gaps; small segments of stuff become void.

    A few pixels of sky between things are no segment that a person would annotate.
    """
    areas = np.bincount(labels.ravel(), minlength=len(names) + 1)
    kept = [n for n in range(1, len(names) + 1) if areas[n] >= MIN_PIXELS]
    table = np.zeros(len(names) + 1, np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[labels], [names[n - 1] for n in kept]
