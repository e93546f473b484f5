"""Make the training objects (`Instances`) from each kind of record.

Legend: h, w size of the augmented image; M number of objects, may be 0. Crowds are never objects,
and neither are segments without a pixel left.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances

from detr_d2.data.segmentations import decode_rle, rasterize_polygons

Size = tuple[int, int]


def instances_of_segments(id_map: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> Instances:
    """Split the id map of a panoptic record into one instance per segment; void is none.

    Args:
        id_map: (h, w) integers after augmentation, 0 = void.
        segments: `id`, `category_id` (contiguous) and `iscrowd` of each segment.

    Returns:
        Instances with `gt_classes` (M,) int64, `gt_masks` BitMasks (M, h, w) and `gt_boxes` Boxes
        (M, 4), xyxy with exclusive right and lower edges, measured from the masks.
    """
    wanted = _without_crowds(segments)
    ids = np.array([s["id"] for s in wanted], id_map.dtype)
    # In numpy: on bytes and booleans it is many times faster than torch on one core.
    masks = id_map[None] == ids[:, None, None]
    return _make((id_map.shape[0], id_map.shape[1]), wanted, boxes_of_masks(masks), masks)


def instances_of_annotations(
    annotations: Sequence[Mapping[str, Any]],
    transforms: T.TransformList,
    size: Size,
    source: str = "record",
) -> Instances:
    """Turn the annotations of Detectron2's detection records into instances.

    Where every object has a segmentation there are masks, and boxes are measured from them, so
    that they are right after a crop too. Otherwise there are no masks, and the boxes are cut at the
    image's border.

    Args:
        annotations: as Detectron2 documents them: `category_id` (contiguous), `iscrowd`, `bbox` and
            `bbox_mode`, `segmentation` (polygons or RLE). Those with segmentation need no box.
        transforms: what was done to the image.
        size: (h, w) of the augmented image.
        source: where the annotations come from, for error messages.

    Returns:
        As `instances_of_segments`, `gt_masks` only where every object has one.

    Raises:
        ValueError: an object has neither a segmentation nor a box, or a segmentation of another
            type.
    """
    wanted = _without_crowds(annotations)
    if all(a.get("segmentation") for a in wanted):
        masks = np.zeros((len(wanted), *size), bool)
        for mask, annotation in zip(masks, wanted, strict=True):
            mask[:] = _draw(annotation["segmentation"], transforms, size, source)
        return _make(size, wanted, boxes_of_masks(masks), masks)
    if bare := [a for a in wanted if "bbox" not in a]:
        raise ValueError(
            f"{source}: {len(bare)} object(s) without bbox, the first: {dict(bare[0])}; where not "
            "every object has a segmentation, each needs a bbox"
        )
    boxes = [BoxMode.convert(list(a["bbox"]), a["bbox_mode"], BoxMode.XYXY_ABS) for a in wanted]
    moved = transforms.apply_box(np.array(boxes, np.float64))
    return _make(size, wanted, moved.clip(0, [size[1], size[0]] * 2).astype(np.float32), None)


def boxes_of_masks(masks: np.ndarray) -> np.ndarray:
    """Tight boxes (M, 4) float32 of masks (M, h, w) bool; all zero for an empty mask.

    The same numbers as Detectron2's `BitMasks.get_bounding_boxes`: xyxy, the right and lower edges
    exclusive, so that a mask of one pixel has a box of one by one.
    """
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, columns, rows in zip(boxes, masks.any(axis=1), masks.any(axis=2), strict=True):
        x, y = np.flatnonzero(columns), np.flatnonzero(rows)
        if len(x):
            box[:] = x[0], y[0], x[-1] + 1, y[-1] + 1
    return boxes


def _without_crowds(objects: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [o for o in objects if not o.get("iscrowd", 0)]


def _draw(segmentation: Any, transforms: T.TransformList, size: Size, source: str) -> np.ndarray:
    """The mask (h, w) of a segmentation after augmentation."""
    if isinstance(segmentation, list):
        # Detectron2 would cut polygons at a crop with shapely, which it does not install.
        # Rasterizing cuts them as well: pixels outside do not exist.
        points = [np.array(polygon, np.float64).reshape(-1, 2) for polygon in segmentation]
        return rasterize_polygons([transforms.apply_coords(p).reshape(-1) for p in points], *size)
    if isinstance(segmentation, dict):
        return transforms.apply_segmentation(decode_rle(segmentation).view(np.uint8))
    raise ValueError(
        f"{source}: segmentation of type {type(segmentation).__name__}, allowed: list of polygons, "
        "RLE dict"
    )


def _make(
    size: Size,
    objects: Sequence[Mapping[str, Any]],
    boxes: np.ndarray,
    masks: np.ndarray | None,
) -> Instances:
    """Instances of the objects whose box (M, 4) has an area."""
    present = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    classes = np.array([o["category_id"] for o in objects], np.int64)
    instances = Instances(size)
    instances.gt_classes = torch.from_numpy(classes[present])
    instances.gt_boxes = Boxes(torch.from_numpy(boxes[present]))
    if masks is not None:
        masks = masks if present.all() else masks[present]
        instances.gt_masks = BitMasks(torch.from_numpy(masks))
    return instances
