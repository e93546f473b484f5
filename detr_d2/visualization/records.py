"""Pictures of records (ground truth) and of the model's outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from detectron2.data import detection_utils
from detectron2.structures import Instances
from PIL import Image

from detr_d2.ops.panoptic_ids import rgb_to_id
from detr_d2.visualization.overlay import (
    draw_boxes,
    draw_segments,
    resize_photo,
)
from detr_d2.visualization.palette import Palette

# Without masks there is no threshold in the model: show the boxes that it is fairly sure of.
BOX_SCORE_SHOWN = 0.5


def read_photo(path: str) -> np.ndarray:
    """Read a photo as the mapper does, turned upright: (H, W, 3) uint8 RGB."""
    return detection_utils.read_image(path, format="RGB")


def draw_truth(
    photo: np.ndarray, record: Mapping[str, Any], palette: Palette, width: int | None = None
) -> np.ndarray:
    """Draw the ground truth of a panoptic record; see `draw_segments` for the arguments."""
    with Image.open(record["pan_seg_file_name"]) as png:
        id_map = rgb_to_id(np.asarray(png.convert("RGB")))
    return draw_segments(photo, id_map, record["segments_info"], palette, width)


def draw_output(
    photo: np.ndarray, output: Mapping[str, Any], palette: Palette, width: int | None = None
) -> np.ndarray:
    """Draw what the model found in a photo: the panoptic map if it gives one, else boxes."""
    if "panoptic_seg" in output:
        id_map, segments = output["panoptic_seg"]
        return draw_segments(photo, id_map.cpu().numpy(), segments, palette, width)
    if "instances" not in output:
        raise ValueError(f"nothing to draw in {sorted(output)}; needs panoptic_seg or instances")
    instances = output["instances"].to("cpu")
    instances = instances[instances.scores > BOX_SCORE_SHOWN]
    found = [
        {
            "category_id": int(category),
            "isthing": int(category) in palette.thing_ids,
            "score": float(score),
        }
        for category, score in zip(instances.pred_classes, instances.scores, strict=True)
    ]
    return draw_boxes(photo, instances.pred_boxes.tensor.numpy(), found, palette, width)


def draw_targets(
    photo: np.ndarray, instances: Instances, palette: Palette, width: int | None = None
) -> np.ndarray:
    """Draw what the mapper made of a record: masks, boxes and class names.

    Args:
        photo: (h, w, 3) uint8 RGB, as augmented.
        instances: with `gt_classes`, `gt_boxes` and `gt_masks` of this size.
        palette: names and colours.
        width: of the picture; None = w.
    """
    id_map = np.zeros(photo.shape[:2], dtype=np.int32)
    segments = []
    for number, category in enumerate(instances.gt_classes.tolist(), start=1):
        id_map[instances.gt_masks.tensor[number - 1].numpy()] = number
        isthing = category in palette.thing_ids
        segments.append({"id": number, "category_id": category, "isthing": isthing})
    boxes = instances.gt_boxes.tensor.numpy()
    return draw_segments(photo, id_map, segments, palette, width, boxes)


def comparison_row(
    record: Mapping[str, Any], output: Mapping[str, Any], palette: Palette, width: int = 400
) -> list[np.ndarray]:
    """Photo, truth and prediction of one image, each `width` pixels wide."""
    photo = read_photo(record["file_name"])
    return [
        resize_photo(photo, width),
        draw_truth(photo, record, palette, width),
        draw_output(photo, output, palette, width),
    ]
