"""Render records (ground truth) and the model's outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from detectron2.structures import BoxMode, Instances

from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.utils.images import read_image
from detr_d2.visualization.overlay import render_boxes, render_segments, resize_image
from detr_d2.visualization.palette import Palette

# Without masks there is no threshold in the model: show the boxes that it is fairly sure of.
BOX_SCORE_SHOWN = 0.5


def render_ground_truth(
    image: np.ndarray, record: Mapping[str, Any], palette: Palette, width: int | None = None
) -> np.ndarray:
    """Render the ground truth of a record; see `render_segments` for the arguments.

    Of a panoptic record the segments, of a detection record the boxes but for crowds.
    """
    if "pan_seg_file_name" not in record:
        objects = [a for a in record["annotations"] if not a.get("iscrowd", 0)]
        boxes = [
            BoxMode.convert(list(a["bbox"]), a["bbox_mode"], BoxMode.XYXY_ABS) for a in objects
        ]
        classes = [a["category_id"] for a in objects]
        return _render_things(image, np.array(boxes).reshape(-1, 4), classes, palette, width)
    id_map = read_ids(record["pan_seg_file_name"])
    return render_segments(image, id_map, record["segments_info"], palette, width)


def render_output(
    image: np.ndarray, output: Mapping[str, Any], palette: Palette, width: int | None = None
) -> np.ndarray:
    """Render what the model found in an image: the panoptic map if it gives one, else boxes."""
    if "panoptic_seg" in output:
        id_map, segments = output["panoptic_seg"]
        return render_segments(image, id_map.cpu().numpy(), segments, palette, width)
    if "instances" not in output:
        raise ValueError(f"nothing to render in {sorted(output)}; needs panoptic_seg or instances")
    instances = output["instances"].to("cpu")
    instances = instances[instances.scores > BOX_SCORE_SHOWN]
    boxes, classes = instances.pred_boxes.tensor.numpy(), instances.pred_classes.tolist()
    return _render_things(image, boxes, classes, palette, width, instances.scores.tolist())


def render_targets(
    image: np.ndarray, instances: Instances, palette: Palette, width: int | None = None
) -> np.ndarray:
    """Render what the mapper made of a record: masks, boxes and class names.

    Args:
        image: (h, w, 3) uint8 RGB, as augmented.
        instances: with `gt_classes`, `gt_boxes` and, maybe, `gt_masks` of this size.
        palette: names and colours.
        width: of the picture; None = w.
    """
    boxes = instances.gt_boxes.tensor.numpy()
    if not instances.has("gt_masks"):
        return _render_things(image, boxes, instances.gt_classes.tolist(), palette, width)
    id_map = np.zeros(image.shape[:2], dtype=np.int32)
    masks = instances.gt_masks.tensor.numpy()
    # The objects of detection data may overlap: the smaller on top.
    for index in masks.sum(axis=(1, 2)).argsort()[::-1]:
        id_map[masks[index]] = index + 1
    segments = [
        {"id": number, "category_id": category, "isthing": category in palette.thing_ids}
        for number, category in enumerate(instances.gt_classes.tolist(), start=1)
    ]
    return render_segments(image, id_map, segments, palette, width, boxes)


def comparison_row(
    record: Mapping[str, Any], output: Mapping[str, Any], palette: Palette, width: int = 400
) -> list[np.ndarray]:
    """Image, ground truth and prediction of one image, each `width` pixels wide."""
    image = read_image(record["file_name"])
    return [
        resize_image(image, width),
        render_ground_truth(image, record, palette, width),
        render_output(image, output, palette, width),
    ]


def _render_things(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: list[int],
    palette: Palette,
    width: int | None,
    scores: list[float] | None = None,
) -> np.ndarray:
    """Render boxes (S, 4) xyxy with the names of their classes and, if given, their scores."""
    things: list[dict[str, Any]] = [
        {"category_id": category, "isthing": category in palette.thing_ids} for category in classes
    ]
    if scores is not None:
        for thing, score in zip(things, scores, strict=True):
            thing["score"] = score
    return render_boxes(image, boxes, things, palette, width)
