"""A model input drawn manually, for the benchmark and the tests."""

from typing import Any

import detr_d2  # noqa: F401

import torch
from detectron2.structures import BitMasks, Instances


def synthetic_input(
    size: tuple[int, int],
    objects: int,
    *,
    sides: tuple[int, int],
    step: tuple[int, int],
    seed: int = 0,
) -> dict[str, Any]:
    """A random image, and rectangles down its diagonal; rectangle i is of class i.

    Args:
        size: (H, W) of the image.
        objects: how many rectangles; may be 0.
        sides: (h, w) of each.
        step: how far the upper left corner moves (down, right) from one to the next.
        seed: of the image's pixels.
    """
    masks = torch.zeros(objects, *size, dtype=torch.bool)
    for i, mask in enumerate(masks):
        top, left = step[0] * i, step[1] * i
        mask[top : top + sides[0], left : left + sides[1]] = True
    instances = Instances(size)
    instances.gt_masks = BitMasks(masks)
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    instances.gt_classes = torch.arange(objects)
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
    return {"image": image, "instances": instances, "height": size[0], "width": size[1]}
