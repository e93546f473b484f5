"""Detectron2's ResNet with DETR's dilation."""

from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.layers import Conv2d, FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import ResNet, build_resnet_backbone
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


def fold_norms(module: nn.Module) -> None:
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


# ImageNet statistics of torchvision's weights: RGB, 0..255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@BACKBONE_REGISTRY.register()
def build_detr_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Build Detectron2's ResNet; with `RES5_DILATION: 2` (DC5) as DETR was trained.

    Detectron2 dilates every block of Res5. Torchvision, from which the published DC5 weights
    come, leaves the first block undilated, since only the blocks after the removed stride
    see a finer map.
    """
    backbone = build_resnet_backbone(cfg, input_shape)
    if cfg.MODEL.RESNETS.RES5_DILATION == 2:
        first = backbone.res5[0].conv2
        first.dilation = first.padding = (1, 1)
    return backbone


def detr_resnet(
    depth: int = 50, *, dc5: bool = False, norm: str = "FrozenBN", freeze_at: int = 2
) -> ResNet:
    """Build DETR's ResNet without a config.

    Args:
        depth: 18, 34, 50, 101 or 152 layers.
        dc5: dilate the last stage instead of its stride.
        norm: "FrozenBN", or "BN" for a training without pretrained weights.
        freeze_at: stages that learn nothing, counted with the stem; 0 lets all learn.

    Returns:
        A backbone with random weights and features "res2" to "res5", for RGB images.
    """
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.FREEZE_AT = freeze_at
    resnets = cfg.MODEL.RESNETS
    resnets.DEPTH, resnets.NORM, resnets.STRIDE_IN_1X1 = depth, norm, False
    resnets.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    resnets.RES5_DILATION = 2 if dc5 else 1
    if depth < 50:
        resnets.RES2_OUT_CHANNELS = 64
    return build_detr_resnet_backbone(cfg, ShapeSpec(channels=3))
