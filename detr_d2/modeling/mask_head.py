"""FPN mask head: from attention maps to one mask logit map per query (DETR paper, figure 8).

The head has five 3 x 3 convolutions; after the second, third and fourth the map is doubled in size
and a backbone feature is added. It runs per query, which makes it by far the most expensive part of
the model, so it is arranged to compute nothing twice and nothing in vain:

- it takes only the queries that somebody needs;
- the first convolution sees [image, attention], and a convolution is linear, so the image part is
  computed once per image and the attention part (M of d + M channels) once per query;
- the backbone features are convolved once per image, and the maps of the queries before they are
  upsampled: see `conv_upsampled_sum`.

Results are those of the dense computation, since GroupNorm works on each query alone.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.utils.registry import Registry
from torch import Tensor, nn
from torch.nn import functional as F

MASK_HEAD_REGISTRY = Registry("MASK_HEAD")
MASK_HEAD_REGISTRY.__doc__ = """Mask heads by name in the config.

A mask head is built as `cls(cfg, input_shape, num_maps)`, where `input_shape` maps the names of
`MODEL.DETR.MASK_HEAD.IN_FEATURES` to Detectron2's `ShapeSpec`, and called as
`head(image (N, d, h, w), attention, features) -> masks`: `attention` is a list of N tensors
(Q_i, M, h, w) of the queries that are needed of image i, Q_i may be 0; `features` is the list of
the backbone features (N, C, h_k, w_k), coarse to fine; the result is a list of N tensors
(Q_i, h_last, w_last) of mask logits, in the size of the last feature.
"""

# Attention weights sum to 1 over all cells, so they are hundreds of times smaller than the image's
# values beside them. With equal initial weights all queries would predict the same mask, and it
# takes hundreds of iterations until they part.
ATTENTION_GAIN = 256.0


@MASK_HEAD_REGISTRY.register()
class FPNMaskHead(nn.Module):
    """Five convolutions with GroupNorm and three lateral adapters, then one output channel."""

    @configurable
    def __init__(self, *, hidden_dim: int, num_maps: int, feature_channels: Sequence[int]) -> None:
        """
        Args:
            hidden_dim: channels d of the projected image; halved at each level and once more, so
                a multiple of 2 ** (levels + 1): 16 with three features.
            num_maps: attention maps M per query.
            feature_channels: channels of the backbone features, coarse to fine; the published
                head takes three, [1024, 512, 256].

        Raises:
            ValueError: hidden_dim cannot be halved so often.
        """
        super().__init__()
        step = 2 ** (len(feature_channels) + 1)
        if hidden_dim % step:
            raise ValueError(
                f"MODEL.DETR.HIDDEN_DIM is {hidden_dim}; allowed with the FPNMaskHead on "
                f"{len(feature_channels)} features: a multiple of {step}"
            )
        self.image_channels = hidden_dim
        # d + M, d + M, d / 2, d / 4, ...: halved at each level.
        widths = [hidden_dim + num_maps] * 2
        widths += [hidden_dim // 2**level for level in range(1, len(feature_channels) + 2)]
        pairs = list(pairwise(widths))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        # 8 groups as published; fewer where a narrow model has not enough channels.
        self.norms = nn.ModuleList(nn.GroupNorm(math.gcd(8, b), b) for _, b in pairs)
        self.adapters = nn.ModuleList(
            nn.Conv2d(channels, width, 1)
            for channels, width in zip(feature_channels, widths[2:-1], strict=True)
        )
        self.output = nn.Conv2d(widths[-1], 1, 3, padding=1)
        for module in [*self.convs, *self.adapters, self.output]:
            nn.init.kaiming_uniform_(module.weight, a=1)
            nn.init.zeros_(module.bias)
        with torch.no_grad():
            cast(nn.Conv2d, self.convs[0]).weight[:, hidden_dim:] *= ATTENTION_GAIN

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec], num_maps: int) -> dict:
        detr = cfg.MODEL.DETR
        return {
            "hidden_dim": detr.HIDDEN_DIM,
            "num_maps": num_maps,
            "feature_channels": [input_shape[f].channels for f in detr.MASK_HEAD.IN_FEATURES],
        }

    def forward(
        self, image: Tensor, attention: Sequence[Tensor], features: Sequence[Tensor]
    ) -> list[Tensor]:
        """Predict a mask for every given query.

        Args:
            image: (N, d, h, w), the projected last backbone feature.
            attention: N tensors (Q_i, M, h, w), the maps of the queries of image i; Q_i may be 0.
            features: backbone features (N, C_k, h_k, w_k), coarse to fine.

        Returns:
            N tensors (Q_i, h_last, w_last) of mask logits.
        """
        first = cast(nn.Conv2d, self.convs[0])
        d = self.image_channels
        image = F.conv2d(image, first.weight[:, :d], first.bias, padding=1)
        laterals = [adapt(x) for adapt, x in zip(self.adapters, features, strict=True)]
        return [
            self._decode(image[i], maps, [lateral[i] for lateral in laterals])
            for i, maps in enumerate(attention)
        ]

    def _decode(self, image: Tensor, maps: Tensor, laterals: list[Tensor]) -> Tensor:
        """One image: (C, h, w), (Q, M, h, w), features (C_k, h_k, w_k) -> (Q, h_last, w_last)."""
        weight = cast(nn.Conv2d, self.convs[0]).weight[:, self.image_channels :]
        if maps.device.type == "cpu":
            # The same numbers; with few channels convolutions take two thirds of the time.
            maps = maps.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(maps, weight, padding=1) + image
        x = F.relu(self.norms[0](x), inplace=True)
        x = F.relu(self.norms[1](self.convs[1](x)), inplace=True)
        for conv, norm, lateral in zip(self.convs[2:], self.norms[2:], laterals, strict=True):
            x = conv_upsampled_sum(x, lateral, cast(nn.Conv2d, conv))
            x = F.relu(norm(x), inplace=True)
        return self.output(x)[:, 0]


def conv_upsampled_sum(x: Tensor, lateral: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return conv(nearest upsampling of x + lateral), without ever making the upsampled map.

    A convolution is linear, so conv(up(x) + lateral) = conv(up(x)) + conv(lateral): the second is
    the same for all queries of an image. In the first, where a level doubles, the nearest
    upsampling lays every value of x on 2 x 2 pixels, so of the 3 x 3 taps those that fall on one
    value add up: what is left is a transposed convolution of stride 2 with 2 x 2 taps per pixel,
    4/9 of the work.

    Args:
        x: (Q, C, h, w), one map per query.
        lateral: (C, H, W), of the image.
        conv: 3 x 3, padding 1, C to C'.

    Returns:
        (Q, C', H, W), equal to the plain computation but for rounding.
    """
    size = lateral.shape[-2:]
    # An exported graph must hold for all sizes, and must not ask for one.
    if torch.compiler.is_exporting() or len(x) < 2 or not _doubles(x.shape[-2:], size):
        return conv(F.interpolate(x, size=size, mode="nearest") + lateral)
    result = F.conv_transpose2d(x, _transposed_kernel(conv.weight), stride=2, padding=1)
    result = result[..., : size[0], : size[1]]
    if size[1] % 2:
        result[..., -1:] = _last_column(x, conv.weight, size[0])
    if size[0] % 2:
        flipped = _last_column(x.transpose(2, 3), conv.weight.transpose(2, 3), size[1])
        result[..., -1:, :] = flipped.transpose(2, 3)
    return result + conv(lateral[None])


def _doubles(small: Sequence[int], large: Sequence[int]) -> bool:
    """Whether a level doubles: features have ceil(half) the size of the finer ones."""
    doubles = all(b in (2 * a, 2 * a - 1) for a, b in zip(small, large, strict=True))
    return doubles and tuple(small) != tuple(large)


def _transposed_kernel(weight: Tensor) -> Tensor:
    """Kernel (C, C', 4, 4) that does on x what (C', C, 3, 3) does on x upsampled twice.

    Along one side, pixel 2i sees x[i - 1] through tap 0 and x[i] through taps 1 and 2, pixel
    2i + 1 sees x[i] through taps 0 and 1 and x[i + 1] through tap 2.
    """
    for side in (2, 3):
        before, here, after = weight.unbind(side)
        weight = torch.stack((after, here + after, before + here, before), side)
    return weight.transpose(0, 1)


def _last_column(x: Tensor, weight: Tensor, height: int) -> Tensor:
    """Last column (Q, C', height, 1) of an odd width, where padding follows and not x again."""
    strip = x[..., -2:].repeat_interleave(2, dim=2)[:, :, :height]
    width = strip.shape[-1]
    return F.conv2d(strip, weight[..., 2 - width : 2], padding=(1, 0))
