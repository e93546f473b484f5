"""The model. Importing this package registers its parts with Detectron2; it does nothing else."""

from detr_d2.modeling.backbone import build_detr_resnet_backbone, detr_resnet
from detr_d2.modeling.bbox_attention import BBOX_ATTENTION_REGISTRY, BBoxAttention
from detr_d2.modeling.criterion import SetCriterion
from detr_d2.modeling.detr import Detr
from detr_d2.modeling.forward_state import ForwardState
from detr_d2.modeling.mask_head import MASK_HEAD_REGISTRY, FPNMaskHead
from detr_d2.modeling.matcher import HungarianMatcher
from detr_d2.modeling.panoptic_detr import PanopticDetr
from detr_d2.modeling.postprocess import PostProcess
from detr_d2.modeling.transformer import Transformer

__all__ = [
    "BBOX_ATTENTION_REGISTRY",
    "MASK_HEAD_REGISTRY",
    "BBoxAttention",
    "Detr",
    "FPNMaskHead",
    "ForwardState",
    "HungarianMatcher",
    "PanopticDetr",
    "PostProcess",
    "SetCriterion",
    "Transformer",
    "build_detr_resnet_backbone",
    "detr_resnet",
]
