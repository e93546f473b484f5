"""Detectron2's ResNet with DETR's dilation."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import ResNet, build_resnet_backbone


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
