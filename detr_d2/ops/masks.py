"""Masks of padded batches: which cells are padding, and how masks come back from there.

Legend: N images, Q masks of one image; padded size = the common (height, width) that the images of
a batch are padded to at the right and at the bottom.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Size = tuple[int, int]


@dataclass(frozen=True)
class ImageSizes:
    """Sizes (height, width) of one image on its way through the model, pixels.

    Attributes:
        padded_size: that the masks cover: of the padded batch, or of the image itself.
        image_size: of the image as the network sees it, without padding.
        output_size: of the outputs, mostly that of the original image.
    """

    padded_size: Size
    image_size: Size
    output_size: Size


def padding_mask(
    image_sizes: Sequence[Size], shape: Size, stride: int | Size, device: torch.device
) -> Tensor:
    """Mark the cells of a feature map that see nothing but padding.

    Args:
        image_sizes: (height, width) of each image before padding, in pixels.
        shape: (h, w) of the feature map of the padded batch.
        stride: pixels per cell, of both sides or (down, right).
        device: where the result lives.

    Returns:
        bool (N, h, w), True = padding. An image keeps ceil(size / stride) cells, exactly as many
        as it has when it is run alone.
    """
    down, right = (stride, stride) if isinstance(stride, int) else stride
    mask = torch.ones((len(image_sizes), *shape), dtype=torch.bool, device=device)
    for row, (height, width) in zip(mask, image_sizes, strict=True):
        row[: -(-height // down), : -(-width // right)] = False
    return mask


def unpad(masks: Tensor, padded_size: Size, image_size: Size) -> Tensor:
    """Resize mask logits (Q, h, w) to the padded size, cut the padding off: (Q, *image_size)."""
    masks = resize(masks, padded_size)
    return masks[:, : image_size[0], : image_size[1]]


def cut_padding(masks: Tensor, padded_size: Size, image_size: Size) -> Tensor:
    """As `unpad`, but masks without padding keep their size."""
    padded = tuple(padded_size) != tuple(image_size)
    return unpad(masks, padded_size, image_size) if padded else masks


def unpad_and_resize(
    masks: Tensor, padded_size: Size, image_size: Size, output_size: Size
) -> Tensor:
    """Bring mask logits of a padded batch to the size of the outputs.

    Args:
        masks: float (Q, h, w), logits over the whole padded size at any resolution.
        padded_size: of the batch, pixels.
        image_size: of this image in the batch, pixels.
        output_size: size of the result, pixels.

    Returns:
        float (Q, *output_size). Padding is cut off *before* the last resize; resizing the whole
        padded size to that of the outputs would squeeze every mask.
    """
    return resize(cut_padding(masks, padded_size, image_size), output_size)


def resize(masks: Tensor, size: Size) -> Tensor:
    """Resize masks (Q, h, w) to (Q, *size), bilinear; Q may be 0."""
    if len(masks) == 0:
        return masks.new_zeros((0, *size))
    return F.interpolate(masks[None], size=tuple(size), mode="bilinear", align_corners=False)[0]


class BilinearSampler:
    """Values of maps (h, w) at chosen pixels of their bilinear enlargement to (H, W).

    The same values as those of `resize`, but for rounding, without the enlarged maps.
    """

    def __init__(self, shape: Size, size: Size, device: torch.device) -> None:
        """
        Args:
            shape: (h, w) of the maps.
            size: (H, W) of the enlargement.
            device: where the maps live.
        """
        self.shape, self.size = shape, size
        self._rows = _neighbours(shape[0], size[0], device)
        self._columns = _neighbours(shape[1], size[1], device)

    def spread(self, cells: Tensor) -> Tensor:
        """Give every pixel the entry (h, w) of the upper left of the four cells around it."""
        return cells.index_select(0, self._rows[0]).index_select(1, self._columns[0])

    def sample(self, maps: Tensor, pixels: Tensor) -> Tensor:
        """Interpolate at some pixels.

        Args:
            maps: float (h * w, Q), so that what belongs to a cell lies together.
            pixels: int64 (P,), indices into the H * W pixels.

        Returns:
            (P, Q).
        """
        row = torch.div(pixels, self.size[1], rounding_mode="floor")
        column = pixels - row * self.size[1]
        top, bottom = (side[row] * self.shape[1] for side in self._rows[:2])
        left, right = (side[column] for side in self._columns[:2])
        across, down = self._columns[2][column, None], self._rows[2][row, None]
        upper, lower = (
            maps.index_select(0, side + left).lerp_(maps.index_select(0, side + right), across)
            for side in (top, bottom)
        )
        return upper.lerp_(lower, down)


def _neighbours(cells: int, pixels: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Along one side: of every pixel the cell before it, the one after it, and the latter's share.

    Pixel centres lie at halves, and beyond the outermost cells nothing changes, as in `resize`.
    """
    place = torch.arange(pixels, dtype=torch.float32, device=device).add_(0.5)
    place = place.mul_(cells / pixels).sub_(0.5).clamp_(min=0)
    before = place.long().clamp_(max=cells - 1)
    return before, (before + 1).clamp_(max=cells - 1), place - before
