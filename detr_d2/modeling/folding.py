"""Convolutions that take their frozen batch norm into their weights."""

from typing import Any

from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import Tensor, nn
from torch.nn import functional as F


class FoldedConv2d(Conv2d):
    """Detectron2's convolution with a frozen batch norm, computed in one pass over the map.

    A frozen norm is a scale and a shift per channel, so norm(conv(x)) is a convolution with scaled
    weights and a bias: equal but for rounding. They are computed anew in every call, which costs
    less than a hundredth of the convolution and is right after any change of the weights; the
    parameters and buffers, and so the checkpoints, stay as they are.
    """

    norm: FrozenBatchNorm2d

    def forward(self, x: Tensor) -> Tensor:
        """As Detectron2's, without a pass over the map for the norm."""
        scale = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
        shift = self.norm.bias - self.norm.running_mean * scale
        weight = self.weight * scale[:, None, None, None]
        x = F.conv2d(x, weight, shift, self.stride, self.padding, self.dilation, self.groups)
        return x if self.activation is None else self.activation(x)


def fold_frozen_norms(module: nn.Module) -> None:
    """Let all convolutions of a module with a frozen batch norm fold it, in place.

    Weights, buffers and their names stay the same objects. Convolutions with a bias of their own or
    another norm, and subclasses such as deformable ones, stay as they are.
    """
    for child in module.modules():
        if _can_be_folded(child):
            child.__class__ = FoldedConv2d


def _can_be_folded(module: Any) -> bool:
    if type(module) is not Conv2d:
        return False
    return module.bias is None and isinstance(module.norm, FrozenBatchNorm2d)
