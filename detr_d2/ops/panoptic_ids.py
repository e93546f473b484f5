"""Panoptic ids as colours: id = R + 256 G + 65536 B, the COCO-panoptic convention.

The segments of a map of such ids are compared with those that `segments_info` lists.

Legend: H, W image height and width. Id 0 is void (no label).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

MAX_ID = 256**3 - 1


def rgb_to_id(rgb: np.ndarray) -> np.ndarray:
    """Decode colours into ids.

    Args:
        rgb: (H, W, 3) uint8, channels in RGB order.

    Returns:
        (H, W) int32, values 0..MAX_ID.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"expected an (H, W, 3) uint8 array, found {rgb.shape} {rgb.dtype}")
    # The four bytes of a little-endian integer: a tenth of the time of shifting and adding.
    if not rgb.size:
        return np.zeros(rgb.shape[:2], np.int32)
    rgba = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2RGBA)
    ids: np.ndarray = rgba.view("<i4")[..., 0]
    ids &= MAX_ID
    return ids


def read_id_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the PNG of one image's ids as (H, W, 3) uint8 colours in RGB order, not yet decoded.

    Raises:
        ValueError: the file is not RGB; ids cannot be read from grey or palette files.
        OSError: there is no such file, or it is damaged.
    """
    try:
        with Image.open(path) as png:
            if png.mode not in ("RGB", "RGBA"):
                raise ValueError(f"{path}: image mode {png.mode}, COCO-panoptic PNGs are RGB")
            return np.asarray(png.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(f"{path}: no PNG that can be read ({error})") from error


def read_ids(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the PNG of one image's ids: (H, W) int32. Raises as `read_id_rgb`."""
    return rgb_to_id(read_id_rgb(path))


def id_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Encode ids as colours.

    Args:
        ids: (H, W) integers, each in 0..MAX_ID.

    Returns:
        (H, W, 3) uint8 in RGB order.
    """
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"expected an (H, W) integer array, found {ids.shape} {ids.dtype}")
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise ValueError(f"ids must be in 0..{MAX_ID}, found {ids.min()}..{ids.max()}")
    # The lower three of the four bytes of a little-endian integer.
    octets = np.ascontiguousarray(ids, "<i4").view(np.uint8).reshape(*ids.shape, 4)
    return np.ascontiguousarray(octets[..., :3])


def compact(values: np.ndarray) -> tuple[list[int], np.ndarray]:
    """The distinct values of a map, ascending, and the map with their positions instead.

    As `np.unique` with inverse, but without sorting where the values are small.
    """
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if high - low < 2**20:
        shifted = values.astype(np.int64) - low if low else values
        counts = np.bincount(shifted.ravel(), minlength=1)
        present = np.flatnonzero(counts)
        table = np.zeros(len(counts), np.int32)
        table[present] = np.arange(len(present))
        return [int(v) + low for v in present], table[shifted]
    distinct, inverse = np.unique(values, return_inverse=True)
    return [int(v) for v in distinct], inverse.reshape(values.shape).astype(np.int32)


@dataclass(frozen=True)
class SegmentFault:
    """A disagreement between `segments_info` and the pixels: `listed` against `measured`.

    `kind` is "id not in the JSON", "id not in the PNG", "wrong area" or "wrong box".
    """

    kind: str
    segment_id: Any
    listed: Any
    measured: Any

    def __str__(self) -> str:
        return (
            f"segment {self.segment_id}: {self.kind} "
            f"(JSON {self.listed or 'none'}, PNG {self.measured or 'none'})"
        )


def compare_segments(
    id_map: np.ndarray, segments: Sequence[Mapping[str, Any]], boxes: bool = True
) -> list[SegmentFault]:
    """Compare the listed segments of one image with its pixels.

    Args:
        id_map: (H, W) integers; 0 is void.
        segments: entries of `segments_info`.
        boxes: compare `bbox` too, where it is given.
    """
    present, positions = compact(id_map)
    areas = np.bincount(positions.ravel(), minlength=len(present)).tolist()
    where = {number: position for position, number in enumerate(present)}
    listed = {segment.get("id") for segment in segments}
    faults = [
        SegmentFault("id not in the JSON", number, None, f"{areas[where[number]]} pixels")
        for number in present
        if number != 0 and number not in listed
    ]
    for segment in segments:
        number, area, box = segment.get("id"), segment.get("area"), segment.get("bbox")
        if number not in where:
            faults.append(SegmentFault("id not in the PNG", number, f"{area} pixels", None))
            continue
        if area != areas[where[number]]:
            faults.append(SegmentFault("wrong area", number, area, areas[where[number]]))
        if boxes and box is not None:
            found = list(cv2.boundingRect((positions == where[number]).view(np.uint8)))
            if list(box) != found:
                faults.append(SegmentFault("wrong box", number, box, found))
    return faults
