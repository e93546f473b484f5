"""From scores, boxes and masks of one image to Detectron2's outputs (DETR paper, section 4.4.1).

Legend: Q kept queries, K classes, (H, W) size of the photo in pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert

from ..ops.masks import Size

UniteStuff = Literal["after_filtering", "before_filtering"]


@dataclass(frozen=True)
class PostProcess:
    """Our corrections of the published post-processing, each of which can be taken back.

    Attributes:
        crop_padding: False lets the padding of a batch into the masks, as published.
        unite_stuff: "before_filtering" as published: the union of the segments of one stuff
            class is undone as soon as a small segment is dropped.
        resize: "ids" as published: masks compete at the size of the network's image, and the map
            of the winners is enlarged to the photo; "masks" compete at the photo's size.
    """

    crop_padding: bool = True
    unite_stuff: UniteStuff = "after_filtering"
    resize: Literal["masks", "ids"] = "masks"

    def __post_init__(self) -> None:
        for key, value, allowed in (
            ("UNITE_STUFF", self.unite_stuff, ("after_filtering", "before_filtering")),
            ("RESIZE", self.resize, ("masks", "ids")),
        ):
            if value not in allowed:
                raise ValueError(
                    f"MODEL.DETR.POSTPROCESS.{key} is {value!r}; allowed: {', '.join(allowed)}"
                )


def best_classes(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Best class of every query.

    Args:
        logits: (Q, K + 1), the last column "no object".

    Returns:
        Scores float (Q,) and classes int64 (Q,) of the best real class, and bool (Q,) whether it
        beats "no object".
    """
    probabilities = logits.float().softmax(-1)
    scores, classes = probabilities[:, :-1].max(-1)
    return scores, classes, scores > probabilities[:, -1]


def panoptic_inference(
    masks: Tensor,
    scores: Tensor,
    classes: Tensor,
    *,
    thing_ids: frozenset[int],
    min_area: int,
    unite_stuff: UniteStuff = "after_filtering",
    size: Size | None = None,
) -> tuple[Tensor, list[dict]]:
    """Merge masks by pixel-wise argmax.

    Segments below the minimum area are dropped first, their pixels go to the next best mask, and
    only then the segments of one stuff class are united, so that no later pass undoes it.

    Args:
        masks: logits (Q, h, w); scores: (Q,); classes: (Q,). Q may be 0.
        thing_ids: contiguous ids of the thing classes.
        min_area: pixels; smaller segments are dropped.
        unite_stuff: see `PostProcess`.
        size: (H, W) of the result, to which the winners are enlarged; None keeps (h, w).

    Returns:
        int32 (H, W) of segment ids from 1, 0 only where nothing was found at all, and one
        dictionary per segment: id, category_id, isthing, score, area, of Python types, since
        Detectron2's evaluator tests `isthing is True`. A united stuff segment has the best score.
    """
    united = _stuff_of_one_class(classes, thing_ids)
    early = unite_stuff == "before_filtering"
    winner, areas = _argmax_without_specks(masks, min_area, united if early else (), size)
    segments: list[dict] = []
    stuff: dict[int, dict] = {}
    # Segment id of each query, 0 for those that won nothing.
    ids = torch.zeros(len(masks) + 1, dtype=torch.int32, device=masks.device)
    rows = zip(scores.tolist(), classes.tolist(), areas.tolist(), strict=True)
    for query, (score, category, area) in enumerate(rows):
        if area == 0:
            continue
        segment = None if early else stuff.get(category)
        if segment is None:
            segment = {
                "id": len(segments) + 1,
                "category_id": category,
                "isthing": category in thing_ids,
                "score": score,
                "area": 0,
            }
            segments.append(segment)
            if not segment["isthing"]:
                stuff[category] = segment
        segment["area"] += area
        segment["score"] = max(segment["score"], score)
        ids[query] = segment["id"]
    return ids[winner], segments


def _stuff_of_one_class(classes: Tensor, thing_ids: frozenset[int]) -> Sequence[list[int]]:
    """Queries that share a stuff class, for each such class."""
    queries: dict[int, list[int]] = {}
    for query, category in enumerate(classes.tolist()):
        if category not in thing_ids:
            queries.setdefault(category, []).append(query)
    return list(queries.values())


def _argmax_without_specks(
    masks: Tensor, min_area: int, united: Sequence[list[int]], size: Size | None
) -> tuple[Tensor, Tensor]:
    """Index of the winning mask per pixel (H, W), and the area of each mask (Q,).

    `united` lists queries of which the first takes all pixels. The others then count as specks and
    are dropped, and in the next pass their pixels go to the next best mask of all: the published
    slip. Without any mask the index is Q everywhere, one past the last.
    """
    queries = len(masks)
    alive = torch.arange(queries, device=masks.device)
    replaced = {query: group[0] for group in united for query in group}
    while len(alive):
        winner = _enlarge(alive[masks[alive].argmax(0)], size)
        winner = _replace(winner, replaced, queries)
        areas = torch.bincount(winner.flatten(), minlength=queries)
        large = areas[alive] >= max(min_area, 1)
        if large.all():
            return winner, areas
        alive = alive[large]
    shape = size or masks.shape[-2:]
    winner = torch.full(shape, queries, dtype=torch.int64, device=masks.device)
    return winner, torch.zeros(queries, dtype=torch.int64, device=masks.device)


def _enlarge(index: Tensor, size: Size | None) -> Tensor:
    """Bring int64 (h, w) to `size` by the nearest pixel; exact, since Q is far below 2**24."""
    if size is None or tuple(index.shape) == tuple(size):
        return index
    return F.interpolate(index[None, None].float(), size=size, mode="nearest-exact")[0, 0].long()


def _replace(index: Tensor, by: Mapping[int, int], count: int) -> Tensor:
    if not by:
        return index
    table = torch.arange(count, device=index.device)
    table[list(by)] = torch.tensor(list(by.values()), device=index.device)
    return table[index]


def instance_inference(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    size: tuple[int, int],
    masks: Tensor | None = None,
) -> Instances:
    """Put detections into Detectron2's structure.

    Args:
        boxes: (Q, 4), cxcywh as fractions of the image.
        size: (H, W).
        masks: logits (Q, H, W), or None for boxes only.

    Returns:
        pred_boxes (xyxy pixels, clipped), scores, pred_classes and, with masks, pred_masks
        bool (Q, H, W).
    """
    height, width = size
    result = Instances(size)
    xyxy = box_convert(boxes.float(), "cxcywh", "xyxy")
    result.pred_boxes = Boxes(xyxy * xyxy.new_tensor([width, height, width, height]))
    result.pred_boxes.clip(size)
    result.scores = scores
    result.pred_classes = classes
    if masks is not None:
        result.pred_masks = masks > 0
    return result


def semantic_inference(masks: Tensor, probabilities: Tensor) -> Tensor:
    """Score of every class at every pixel.

    Args:
        masks: logits (Q, H, W); probabilities: (Q, K) of the real classes.

    Returns:
        (K, H, W), the sum over queries of class probability times mask probability.
    """
    return torch.einsum("qk,qhw->khw", probabilities, masks.sigmoid())
