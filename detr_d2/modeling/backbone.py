"""Detectron2's ResNet with DETR's dilation."""

from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import ResNet, build_resnet_backbone

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
