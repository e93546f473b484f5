"""The model. Importing this package registers its parts with Detectron2; it does nothing else."""

from .backbone import build_detr_resnet_backbone
from .bbox_attention import BBoxAttention
from .detr import Detr, DetrOutputs
from .mask_head import FPNMaskHead
from .panoptic_detr import PanopticDetr
from .registry import BBOX_ATTENTION_REGISTRY, MASK_HEAD_REGISTRY

__all__ = [
    "BBOX_ATTENTION_REGISTRY",
    "MASK_HEAD_REGISTRY",
    "BBoxAttention",
    "Detr",
    "DetrOutputs",
    "FPNMaskHead",
    "PanopticDetr",
    "build_detr_resnet_backbone",
]
