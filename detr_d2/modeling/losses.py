"""DETR's losses as pure functions (DETR paper, appendix A.2). Sums, to be normalised by the caller.

Legend: L decoder layers, T matched pairs. All take and return float32. Those of masks are in
`mask_losses.py`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, generalized_box_iou_loss


def class_loss(
    logits: Tensor,
    classes: Tensor,
    no_object_weight: float,
    mean_over_processes: Callable[[Tensor], Tensor] = lambda total: total,
) -> Tensor:
    """Cross-entropy in which "no object" weighs less.

    Args:
        logits: (L, N, Q, K + 1).
        classes: int64 (L, N, Q), K = no object.
        no_object_weight: weight of class K; all others weigh 1.
        mean_over_processes: of the sum of weights (L,), where several processes share a batch.

    Returns:
        (L,), the weighted mean over all queries of all images. In several processes their mean is
        the weighted mean over the queries of all of them.
    """
    no_object = logits.shape[-1] - 1
    loss = F.cross_entropy(logits.flatten(0, 2), classes.flatten(), reduction="none")
    weight = torch.where(classes == no_object, no_object_weight, 1.0)
    # Without any object and with a weight of 0 for "no object" nothing counts.
    total = mean_over_processes(weight.sum((1, 2))).clamp(min=1e-6)
    return (loss.view_as(weight) * weight).sum((1, 2)) / total


def l1_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Sum of |difference| of cxcywh boxes (L, T, 4): (L,)."""
    return (boxes - targets).abs().sum((1, 2))


def generalized_iou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Sum of 1 - generalized IoU of cxcywh boxes (L, T, 4): (L,)."""
    pairs = [box_convert(x.flatten(0, 1), "cxcywh", "xyxy") for x in (boxes, targets)]
    # Boxes are fractions: the usual guard of 1e-7 would be 1 % of the area of a small one.
    return generalized_box_iou_loss(*pairs, eps=1e-12).view(boxes.shape[:2]).sum(1)
