"""Pictures of data and predictions."""

from detr_d2.visualization.overlay import draw_boxes, draw_segments, resize_image
from detr_d2.visualization.palette import Palette
from detr_d2.visualization.records import (
    comparison_row,
    draw_ground_truth,
    draw_output,
    draw_targets,
    read_image,
)
from detr_d2.visualization.sheet import picture_sheet, save_picture

__all__ = [
    "Palette",
    "comparison_row",
    "draw_boxes",
    "draw_ground_truth",
    "draw_output",
    "draw_segments",
    "draw_targets",
    "picture_sheet",
    "read_image",
    "resize_image",
    "save_picture",
]
