"""Merge the masks of one image into a panoptic map (DETR paper, section 4.4.1).

Legend: Q kept queries, (h, w) size at which masks compete, (H, W) size of the outputs, pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from detr_d2.ops.masks import Size

UniteStuff = Literal["after_filtering", "before_filtering"]


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
    winner, areas = _argmax_of_large_segments(masks, min_area, united if early else (), size)
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


def _argmax_of_large_segments(
    masks: Tensor, min_area: int, united: Sequence[list[int]], size: Size | None
) -> tuple[Tensor, Tensor]:
    """Index of the winning mask per pixel (H, W), and the area of each mask (Q,).

    `united` lists queries of which the first takes all pixels. The others then count as small
    segments and are dropped, and in the next pass their pixels go to the next best mask of all: the
    published bug. Without any mask the index is Q everywhere, one past the last.
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
