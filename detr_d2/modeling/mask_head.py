"""FPN mask head: from attention maps to one mask logit map per query (DETR paper, figure 8).

The head has five 3 x 3 convolutions; after the second, third and fourth the map is doubled in size
and a backbone feature is added. It runs per query, which makes it by far the most expensive part of
the model, so it is arranged to compute nothing twice and nothing in vain:

- it takes only the queries that somebody needs;
- the first convolution sees [image, attention], and a convolution is linear, so the image part is
  computed once per image and the attention part (M of d + M channels) once per query;
- the backbone features are convolved once per image, and the maps of the queries before they are
  upsampled: see `upsampling.py`.

Results are those of the dense computation, since GroupNorm works on each query alone.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from detr_d2.modeling.registry import MASK_HEAD_REGISTRY
from detr_d2.modeling.upsampling import conv_upsampled_sum

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
        x = F.conv2d(maps, weight, padding=1) + image
        x = F.relu(self.norms[0](x), inplace=True)
        x = F.relu(self.norms[1](self.convs[1](x)), inplace=True)
        for conv, norm, lateral in zip(self.convs[2:], self.norms[2:], laterals, strict=True):
            x = conv_upsampled_sum(x, lateral, cast(nn.Conv2d, conv))
            x = F.relu(norm(x), inplace=True)
        return self.output(x)[:, 0]
