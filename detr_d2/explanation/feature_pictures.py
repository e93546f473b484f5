"""Show maps of many channels: principal components as colours, single channels, lengths.

Legend: C channels, (h, w) cells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# Maps of more cells are averaged over squares before they are shown.
MAX_CELLS = 20000
CHANNELS = 6


@dataclass(frozen=True)
class FeaturePicture:
    """A feature map made visible.

    Attributes:
        shape: of the map, (C, h, w).
        rgb: uint8 (h', w', 3), the three principal components of the channels.
        channel_ids: the channels that vary most, in the order of their numbers.
        channels: (c, h', w'), their values.
        norm: (h', w'), length of the vector in each cell.
    """

    shape: tuple[int, ...]
    rgb: Tensor
    channel_ids: list[int]
    channels: Tensor
    norm: Tensor


def picture_features(feature: Tensor, count: int = CHANNELS) -> FeaturePicture:
    """Make a map (C, h, w) visible; `count` is the number of single channels."""
    small = shrink(feature.float())
    spread = small.flatten(1).std(1)
    chosen = spread.argsort(descending=True)[:count].sort().values
    return FeaturePicture(
        tuple(feature.shape),
        principal_colors(small),
        chosen.tolist(),
        small[chosen],
        shrink(feature.float().norm(dim=0)[None])[0],
    )


def shrink(maps: Tensor) -> Tensor:
    """Average maps (C, h, w) over 2 x 2, 4 x 4, ... cells until at most MAX_CELLS are left."""
    factor = 1
    while maps.shape[-2] * maps.shape[-1] / factor**2 > MAX_CELLS:
        factor *= 2
    return F.avg_pool2d(maps[None], factor, ceil_mode=True)[0] if factor > 1 else maps


def principal_colors(feature: Tensor) -> Tensor:
    """Colours of a map (C, h, w): its three principal components as red, green, blue.

    Each component is stretched from its 1st to its 99th percentile. Its sign, which is arbitrary,
    is chosen so that its largest deviations are positive.

    Returns:
        uint8 (h, w, 3).
    """
    cells = feature.flatten(1).T.double()
    cells = cells - cells.mean(0)
    # Eigenvectors of the smaller of the two Gram matrices.
    if cells.shape[1] <= cells.shape[0]:
        vectors = torch.linalg.eigh(cells.T @ cells).eigenvectors
        parts = cells @ vectors[:, -3:].flip(1)
    else:
        values, vectors = torch.linalg.eigh(cells @ cells.T)
        parts = vectors[:, -3:].flip(1) * values[-3:].flip(0).clamp(min=0).sqrt()
    parts = F.pad(parts, (0, 3 - parts.shape[1]))
    parts = parts * parts.pow(3).sum(0).sign().where(parts.pow(3).sum(0) != 0, 1.0)
    bounds = torch.quantile(parts, torch.tensor([0.01, 0.99], dtype=parts.dtype), dim=0)
    stretched = (parts - bounds[0]) / (bounds[1] - bounds[0]).clamp(min=1e-12)
    colors = (stretched.clamp(0, 1) * 255).round().to(torch.uint8)
    return colors.reshape(*feature.shape[1:], 3)
