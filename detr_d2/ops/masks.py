"""Masks on padded canvases: which cells are padding, and how masks come back from there.

Legend: N images, Q masks of one image, canvas = the common size (height, width) that the images of
a batch are padded to at the right and at the bottom.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Size = tuple[int, int]


def padding_mask(
    image_sizes: Sequence[Size], shape: Size, stride: int, device: torch.device
) -> Tensor:
    """Mark the cells of a feature map that see nothing but padding.

    Args:
        image_sizes: (height, width) of each image before padding, in pixels.
        shape: (h, w) of the feature map of the padded batch.
        stride: pixels per cell.
        device: where the result lives.

    Returns:
        bool (N, h, w), True = padding. An image keeps ceil(size / stride) cells, exactly as many
        as it has when it is run alone.
    """
    mask = torch.ones((len(image_sizes), *shape), dtype=torch.bool, device=device)
    for row, (height, width) in zip(mask, image_sizes, strict=True):
        row[: -(-height // stride), : -(-width // stride)] = False
    return mask


def unpad(masks: Tensor, canvas: Size, image_size: Size) -> Tensor:
    """Scale mask logits (Q, h, w) up to the canvas and cut the padding off: (Q, *image_size)."""
    masks = resize(masks, canvas)
    return masks[:, : image_size[0], : image_size[1]]


def unpad_and_resize(masks: Tensor, canvas: Size, image_size: Size, output_size: Size) -> Tensor:
    """Bring mask logits of a padded canvas to the size of the original image.

    Args:
        masks: float (Q, h, w), logits over the whole canvas at any resolution.
        canvas: size of the padded batch, pixels.
        image_size: size of this image on the canvas, pixels.
        output_size: size of the result, pixels.

    Returns:
        float (Q, *output_size). Padding is cut off *before* the last resize; resizing the whole
        canvas to the image's size would squeeze every mask.
    """
    if tuple(canvas) != tuple(image_size):
        masks = unpad(masks, canvas, image_size)
    return resize(masks, output_size)


def resize(masks: Tensor, size: Size) -> Tensor:
    """Resize masks (Q, h, w) to (Q, *size), bilinear; Q may be 0."""
    if len(masks) == 0:
        return masks.new_zeros((0, *size))
    return F.interpolate(masks[None], size=tuple(size), mode="bilinear", align_corners=False)[0]
