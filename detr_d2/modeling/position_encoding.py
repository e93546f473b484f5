"""Sine position encoding of feature maps (DETR paper, appendix A.4)."""

import math

import torch
from torch import Tensor


def sine_position_encoding(padding: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Encode the place of each cell, relative to the unpadded size of its image.

    Args:
        padding: bool (N, h, w), True = padding.
        channels: number C of channels, a multiple of 4; half encode y, half x.
        temperature: ratio of the longest to the shortest wave.

    Returns:
        float32 (N, C, h, w). Rows and columns count from 1 and are scaled so that the last
        unpadded one is 2 pi, so an image has the same encoding alone and in a padded batch.

    Raises:
        ValueError: C is no multiple of 4.
    """
    check_channels(channels)
    valid = (~padding).float()
    y, x = valid.cumsum(1), valid.cumsum(2)
    y = y / (y[:, -1:, :] + 1e-6)
    x = x / (x[:, :, -1:] + 1e-6)
    return encode_places(y, x, channels, temperature).permute(0, 3, 1, 2)


def encode_places(y: Tensor, x: Tensor, channels: int, temperature: float) -> Tensor:
    """Encode places y and x (...), fractions of the image: (..., C), first half y, then x."""
    half = channels // 2
    exponent = torch.arange(half, device=y.device).div(2, rounding_mode="floor") * 2 / half
    wave = temperature**exponent
    places = [place[..., None] * (2 * math.pi) / wave for place in (y, x)]
    return torch.cat([_interleave(angle) for angle in places], dim=-1)


def check_channels(channels: int) -> None:
    """Reject a number of channels that the encoding cannot have.

    Raises:
        ValueError: it is no multiple of 4, of sine and cosine for y and for x.
    """
    if channels % 4:
        raise ValueError(
            f"MODEL.DETR.HIDDEN_DIM is {channels}; allowed: a multiple of 4, since the position "
            "encoding has a sine and a cosine for y and for x"
        )


def _interleave(angle: Tensor) -> Tensor:
    """Angles (..., C) to sine at even, cosine at odd channels."""
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-2)
