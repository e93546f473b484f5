"""Pictures of data and predictions."""

from detr_d2.utils.images import read_image
from detr_d2.visualization.grid import image_grid, save_picture
from detr_d2.visualization.overlay import render_boxes, render_segments, resize_image
from detr_d2.visualization.palette import Palette
from detr_d2.visualization.records import (
    comparison_row,
    render_ground_truth,
    render_output,
    render_targets,
)

__all__ = [
    "Palette",
    "comparison_row",
    "image_grid",
    "read_image",
    "render_boxes",
    "render_ground_truth",
    "render_output",
    "render_segments",
    "render_targets",
    "resize_image",
    "save_picture",
]
