"""Rasterize segmentations of COCO files: polygons and run-length codes, as pycocotools does.

Annotation files come from other people and programs, and pycocotools trusts what it is given: here
all numbers are checked before they are used.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from detr_d2.data.image_io import UnreadableError

# x and y of three points: a shorter list has no area, and pycocotools would take it for a box.
SHORTEST = 6
# How far a corner may lie from the image's origin, in lengths of the longer side. Polygons of
# crops reach out of their image; the cost of a polygon grows with its length.
FARTHEST = 16
# The pixels of a mask: more are a mistake or an attack. Pillow has about the same limit.
MOST_PIXELS = 2**28


def check_size(size: Any, where: str) -> tuple[int, int]:
    """Check the size of an image or mask that a file names, before memory is reserved for it.

    Args:
        size: should be height and width, whole numbers above 0.
        where: names the place in messages.

    Raises:
        UnreadableError: no size, or more than MOST_PIXELS.
    """
    sound = isinstance(size, (list, tuple)) and len(size) == 2
    if not sound or not all(_is_count(side) and side > 0 for side in size):
        raise UnreadableError(f"{where}: size {_shorten(size)}; must be height and width in pixels")
    if size[0] * size[1] > MOST_PIXELS:
        raise UnreadableError(f"{where}: size {size[1]}x{size[0]}, above {MOST_PIXELS} pixels")
    return int(size[0]), int(size[1])


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_points(values: Any, height: int, width: int, where: str) -> np.ndarray:
    """Check the coordinates of a shape: (N, 2) float64, x and y.

    Args:
        values: numbers x, y, x, y, ... or pairs of them.
        height, width: size of the image.
        where: names the shape in messages.

    Raises:
        UnreadableError: no numbers, an odd one, not finite, or far outside of the image.
    """
    try:
        points = np.asarray(values)
    except ValueError as error:
        raise UnreadableError(f"{where}: coordinates in lists of unequal length") from error
    except OverflowError as error:
        raise UnreadableError(f"{where}: a coordinate beyond 1e308") from error
    flat = points.ndim == 1 or (points.ndim == 2 and points.shape[1] == 2)
    if points.size and (points.dtype.kind not in "iuf" or not flat):
        raise UnreadableError(f"{where}: coordinates {_shorten(values)} are no list of numbers")
    if points.size % 2:
        raise UnreadableError(f"{where}: {points.size} coordinates; must be x and y of each point")
    points = points.astype(np.float64).reshape(-1, 2)
    limit = FARTHEST * max(height, width)
    wrong = points[~(np.abs(points) <= limit)]
    if len(wrong):
        raise UnreadableError(
            f"{where}: coordinate {wrong[0]:g} is not within {limit} pixels, {FARTHEST} times the "
            f"longer side of its image of {width}x{height}"
        )
    return points


def _shorten(values: Any) -> str:
    text = str(values)
    return text if len(text) <= 60 else text[:60] + "..."


def rasterize_polygons(polygons: Sequence[Any], height: int, width: int) -> np.ndarray:
    """Rasterize polygons into one mask, (H, W) bool.

    Args:
        polygons: flat lists x, y, x, y, ... in pixels from the upper left corner. Those of files
            are to be checked before, by `check_points`.
        height, width: size of the mask; parts outside are cut off.
    """
    polygons = [polygon for polygon in polygons if len(polygon) >= SHORTEST]
    if not polygons:
        return np.zeros((height, width), bool)
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return coco_mask.decode(rle).view(bool)


def decode_rle(rle: Mapping[str, Any], where: str = "RLE") -> np.ndarray:
    """Decode a run-length code, packed or as a list of `counts`: (H, W) bool, of its own `size`.

    Raises:
        UnreadableError: no size or counts, or counts that do not fill the size.
    """
    height, width = check_size(rle.get("size"), where)
    counts = rle.get("counts")
    runs = unpack_counts(counts, where) if isinstance(counts, (str, bytes)) else counts
    return fill_runs(runs, width, height, where).T


def fill_runs(counts: Any, height: int, width: int, where: str) -> np.ndarray:
    """Fill a mask (H, W) bool row by row with runs of equal pixels, the first of them outside.

    Raises:
        UnreadableError: no counts, a negative one, or a sum other than H times W.
    """
    runs: np.ndarray = np.asarray(counts) if isinstance(counts, (list, np.ndarray)) else np.empty(0)
    if runs.ndim != 1 or runs.dtype.kind not in "iu" or not runs.size:
        raise UnreadableError(f"{where}: RLE counts {_shorten(counts)} are no list of numbers")
    # One that is too large by itself is seen before the sum, which it might overflow.
    if runs.min() < 0 or runs.max() > height * width or int(runs.sum()) != height * width:
        total = sum(int(run) for run in runs)
        raise UnreadableError(
            f"{where}: RLE counts from {runs.min()}, sum {total}; they must be from 0 and fill "
            f"{height * width} pixels"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(height, width)


def unpack_counts(packed: str | bytes, where: str) -> np.ndarray:
    """Unpack the counts of COCO's compressed run-length code, (N,) int64.

    A count has one character or more, with 5 bits each, the lowest first, and a bit that says
    whether more follow; from the fourth on it is the difference to the last but one.

    Raises:
        UnreadableError: other characters, or an unfinished count.
    """
    text = packed.encode("latin-1", "replace") if isinstance(packed, str) else packed
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not codes.size or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise UnreadableError(f"{where}: malformed RLE counts {_shorten(packed)}")
    lasts = np.flatnonzero(~codes & 32)
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    lengths = lasts - firsts + 1
    if lengths.max() > 8:
        raise UnreadableError(f"{where}: malformed RLE counts, one of {lengths.max()} characters")
    place = np.arange(len(codes)) - np.repeat(firsts, lengths)
    counts = np.add.reduceat((codes & 31) << 5 * place, firsts)
    negative = (codes[lasts] & 16) > 0
    counts[negative] -= np.int64(1) << 5 * lengths[negative]
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def rasterize_segmentation(
    annotation: Mapping[str, Any], height: int, width: int, where: str
) -> np.ndarray:
    """Rasterize the segmentation of a COCO annotation, (H, W) bool; empty when there is none.

    Args:
        annotation: with `segmentation` as polygons, run-length code or packed code.
        height, width: size of its image.
        where: names the annotation in messages.

    Raises:
        UnreadableError: it is malformed, of another size, or there is only a box.
    """
    shape = annotation.get("segmentation")
    box = annotation.get("bbox")
    if not shape and isinstance(box, list) and len(box) == 4:
        raise UnreadableError(f"{where}: only a box; a mask is needed")
    if not shape:
        return np.zeros((height, width), bool)
    if isinstance(shape, list):
        if isinstance(shape[0], (int, float)):
            # One polygon without a list around it, as older versions of VIA write it.
            shape = [shape]
        points = [check_points(polygon, height, width, where) for polygon in shape]
        return rasterize_polygons([p.ravel().tolist() for p in points], height, width)
    if not isinstance(shape, Mapping):
        raise UnreadableError(f"{where}: segmentation {_shorten(shape)} is no list and no RLE")
    if "counts" not in shape:
        return np.zeros((height, width), bool)
    size = check_size(shape.get("size"), where)
    if size != (height, width):
        raise UnreadableError(
            f"{where}: RLE of {size[1]}x{size[0]} pixels, its image has {width}x{height}"
        )
    return decode_rle(shape, where)
