"""Rasterize segmentations of COCO files: polygons and run-length codes, as pycocotools does."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from detr_d2.data.image_io import UnreadableError

# x and y of three points: a shorter list has no area, and pycocotools would take it for a box.
SHORTEST = 6


def rasterize_polygons(polygons: Sequence[Any], height: int, width: int) -> np.ndarray:
    """Rasterize polygons into one mask, (H, W) bool.

    Args:
        polygons: flat lists x, y, x, y, ... in pixels from the upper left corner.
        height, width: size of the mask; parts outside are cut off.
    """
    polygons = [polygon for polygon in polygons if len(polygon) >= SHORTEST]
    if not polygons:
        return np.zeros((height, width), bool)
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return coco_mask.decode(rle).view(bool)


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decode a run-length code, packed or as a list of `counts`: (H, W) bool, of its own `size`."""
    if isinstance(rle["counts"], list):
        rle = coco_mask.frPyObjects(rle, *rle["size"])
    return coco_mask.decode(rle).view(bool)


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
    if not shape and len(annotation.get("bbox") or ()) == 4:
        raise UnreadableError(f"{where}: only a box; a mask is needed")
    try:
        if isinstance(shape, list):
            if shape and not isinstance(shape[0], Sequence):
                # One polygon without a list around it, as older versions of VIA write it.
                shape = [shape]
            return rasterize_polygons(shape, height, width)
        if not isinstance(shape, Mapping) or "counts" not in shape:
            return np.zeros((height, width), bool)
        mask = decode_rle(shape)
    except Exception as error:  # pycocotools raises bare Exceptions
        raise UnreadableError(f"{where}: malformed segmentation ({error})") from error
    if mask.shape != (height, width):
        found = f"{mask.shape[1]}x{mask.shape[0]}"
        raise UnreadableError(f"{where}: RLE of {found} pixels, its image has {width}x{height}")
    return mask
