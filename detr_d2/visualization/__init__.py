"""Pictures of data and predictions."""

from detr_d2.visualization.overlay import draw_boxes, draw_segments, resize_photo
from detr_d2.visualization.palette import Palette
from detr_d2.visualization.records import (
    comparison_row,
    draw_output,
    draw_targets,
    draw_truth,
    read_photo,
)
from detr_d2.visualization.sheet import picture_sheet, save_picture

__all__ = [
    "Palette",
    "comparison_row",
    "draw_boxes",
    "draw_output",
    "draw_segments",
    "draw_targets",
    "draw_truth",
    "picture_sheet",
    "read_photo",
    "resize_photo",
    "save_picture",
]
