"""Queries that found an object which a better query has found, too. Legend: Q queries."""

import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from detr_d2.modeling.box_head import ClassPredictions


def find_duplicates(
    found: ClassPredictions, boxes: Tensor, candidates: Tensor, iou: float
) -> Tensor:
    """Find candidates whose object has a better candidate of the same class.

    One comparison of all pairs, as Fast NMS (YOLACT, arXiv:1904.02689): what is itself a
    duplicate still outdoes others, so that the score threshold changes nothing here.

    Args:
        found: of Q queries.
        boxes: (Q, 4), cxcywh as fractions of the image.
        candidates: bool (Q,); only they can be duplicates, or make others such.
        iou: share of the union above which two boxes are of one object.

    Returns:
        bool (Q,).
    """
    xyxy = box_convert(boxes.float(), "cxcywh", "xyxy")
    scores, classes = found.scores, found.classes
    number = torch.arange(len(scores), device=scores.device)
    # Of two equal scores the first one counts as the better.
    better = (scores[None] > scores[:, None]) | (
        (scores[None] == scores[:, None]) & (number[None] < number[:, None])
    )
    same = (classes[None] == classes[:, None]) & (box_iou(xyxy, xyxy) > iou)
    return candidates & (same & better & candidates[None]).any(1)
