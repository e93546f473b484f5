"""COCO instances out of a panoptic map: boxes, areas and masks of its segments.

Coordinates are those of COCO: pixel (row r, column c) covers x from c to c + 1, y from r to r + 1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from detr_d2.ops.outlines import outlines


def coco_instances(
    ids: np.ndarray,
    segments: Iterable[Mapping[str, Any]],
    category_ids: Mapping[int, int],
    polygons: bool,
) -> list[dict[str, Any]]:
    """Turn the segments of one image into COCO annotations.

    Args:
        ids: (H, W) integers, the segment of each pixel.
        segments: `id`, `category_id` and, for crowds, `iscrowd` 1 of each.
        category_ids: the category id to write, by that of the segment; others are skipped.
        polygons: masks as polygons, exact to the pixel; else, and for crowds, as compressed RLE.

    Returns:
        `category_id`, `iscrowd`, `segmentation`, `area` (pixels) and `bbox` (x, y, width, height)
        of each segment in their order, counted from the map. A segment that the map does not show
        is skipped.
    """
    instances = []
    for segment in segments:
        if segment["category_id"] not in category_ids:
            continue
        mask = ids == segment["id"]
        rle = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
        area, crowd = int(coco_mask.area(rle)), int(segment.get("iscrowd", 0))
        if area:
            text = {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}
            instances.append(
                {
                    "category_id": category_ids[segment["category_id"]],
                    "iscrowd": crowd,
                    "segmentation": outlines(mask) if polygons and not crowd else text,
                    "area": area,
                    "bbox": coco_mask.toBbox(rle).tolist(),
                }
            )
    return instances
