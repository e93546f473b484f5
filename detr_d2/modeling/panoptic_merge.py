"""Merge the masks of one image into a panoptic map (DETR paper, section 4.4.1).

Legend: Q kept queries, (h, w) size at which masks compete, (H, W) size of the outputs, pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from detr_d2.ops.masks import BilinearSampler, Size, resize

UniteStuff = Literal["after_filtering", "before_filtering"]

# Index of a pixel whose winner is not known yet.
UNDECIDED = -1
# Above this share of undecided pixels, as of masks that are mere noise, resizing all is faster.
MANY_UNDECIDED = 0.3
# Mask values that are sampled at a time; so many stay in the cache of a core.
SAMPLED_VALUES = 2**18


@torch.no_grad()
def panoptic_inference(
    masks: Tensor,
    scores: Tensor,
    classes: Tensor,
    *,
    thing_ids: frozenset[int],
    min_area: int,
    unite_stuff: UniteStuff = "after_filtering",
    compete_at: Size | None = None,
    size: Size | None = None,
) -> tuple[Tensor, list[dict]]:
    """Merge masks by pixel-wise argmax.

    Segments below the minimum area are dropped first, their pixels go to the next best mask, and
    only then the segments of one stuff class are united, so that no later pass undoes it.

    Args:
        masks: float logits (Q, ., .) of the whole image at any size; scores: (Q,); classes: (Q,).
            Q may be 0.
        thing_ids: contiguous ids of the thing classes.
        min_area: pixels; smaller segments are dropped.
        unite_stuff: see `PostProcess`.
        compete_at: (h, w), the size of the pixels for which masks compete, by bilinear
            interpolation; None is the masks' own.
        size: (H, W) of the result, to which the winners are enlarged; None keeps (h, w).

    Returns:
        int32 (H, W) of segment ids from 1, 0 only where nothing was found at all, and one
        dictionary per segment: id, category_id, isthing, score, area, of Python types, since
        Detectron2's evaluator tests `isthing is True`. A united stuff segment has the best score.
    """
    united = _stuff_of_one_class(classes, thing_ids)
    early = unite_stuff == "before_filtering"
    winner, areas = _argmax_of_large_segments(
        masks, compete_at or _shape(masks), min_area, united if early else (), size
    )
    rows = zip(scores.tolist(), classes.tolist(), areas.tolist(), strict=True)
    ids, segments = _list_segments(rows, thing_ids, unite=not early)
    # Without any mask the winner is one past the last query: nothing.
    table = torch.tensor([*ids, 0], dtype=torch.int32, device=masks.device)
    return _look_up(table, winner), segments


def _list_segments(
    queries: Iterable[tuple[float, int, int]], thing_ids: frozenset[int], *, unite: bool
) -> tuple[list[int], list[dict]]:
    """Number the segments of queries with score, class and pixels won.

    Returns:
        The segment id of each query, 0 for those that won nothing, and the segments. If `unite`,
        the queries of one stuff class have one segment.
    """
    ids: list[int] = []
    segments: list[dict] = []
    stuff: dict[int, dict] = {}
    for score, category, area in queries:
        if area == 0:
            ids.append(0)
            continue
        segment = stuff.get(category) if unite else None
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
        ids.append(segment["id"])
    return ids, segments


def _stuff_of_one_class(classes: Tensor, thing_ids: frozenset[int]) -> Sequence[list[int]]:
    """Queries that share a stuff class, for each such class."""
    queries: dict[int, list[int]] = {}
    for query, category in enumerate(classes.tolist()):
        if category not in thing_ids:
            queries.setdefault(category, []).append(query)
    return list(queries.values())


def _argmax_of_large_segments(
    masks: Tensor,
    compete_at: Size,
    min_area: int,
    united: Sequence[list[int]],
    size: Size | None,
) -> tuple[Tensor, Tensor]:
    """Index of the winning mask per pixel, int32 (H, W), and the area of each mask (Q,).

    `united` lists queries of which the first takes all pixels. The others then count as small
    segments and are dropped, and in the next pass their pixels go to the next best mask of all: the
    published bug. Without any mask the index is Q everywhere, one past the last.
    """
    queries = len(masks)
    alive = torch.arange(queries, device=masks.device)
    replaced = {query: group[0] for group in united for query in group}
    sampler = BilinearSampler(_shape(masks), compete_at, masks.device)
    winner = _argmax(masks, sampler)
    while len(alive):
        shown = _enlarge(_replace(winner, replaced, queries), size)
        areas = torch.bincount(shown.flatten(), minlength=queries)
        large = areas[alive] >= max(min_area, 1)
        if large.all():
            return shown, areas
        alive = alive[large]
        # Only pixels of a dropped mask change hands: elsewhere the best of all is still there.
        lost = torch.isin(winner, alive.to(winner.dtype), invert=True).flatten().nonzero()[:, 0]
        if len(alive):
            _decide(winner, lost, masks, alive, sampler)
    shape = size or winner.shape
    winner = torch.full(shape, queries, dtype=torch.int32, device=masks.device)
    return winner, torch.zeros(queries, dtype=torch.int64, device=masks.device)


def _argmax(masks: Tensor, sampler: BilinearSampler) -> Tensor:
    """Index of the best mask of each pixel, the first of equal ones: int32 (h, w), 0 without masks.

    Interpolation weighs the four cells around a pixel, for all masks in the same way: where one
    mask wins all four it wins the pixel. Only the other pixels, along the borders of segments, are
    interpolated.
    """
    if not len(masks):
        return torch.zeros(sampler.size, dtype=torch.int32, device=masks.device)
    best = masks.max(0).indices.int()
    if sampler.shape == sampler.size:
        return best
    around = F.pad(best[None].float(), (0, 1, 0, 1), mode="replicate")[0].int()
    sure = (best == around[:-1, 1:]) & (best == around[1:, :-1]) & (best == around[1:, 1:])
    winner = sampler.spread(torch.where(sure, best, UNDECIDED))
    pixels = (winner == UNDECIDED).flatten().nonzero()[:, 0]
    if len(pixels) > MANY_UNDECIDED * winner.numel():
        return _argmax_of_resized(masks, sampler.size)
    _decide(winner, pixels, masks, torch.arange(len(masks), device=masks.device), sampler)
    return winner


def _decide(
    winner: Tensor, pixels: Tensor, masks: Tensor, queries: Tensor, sampler: BilinearSampler
) -> None:
    """Write the best of some queries into `winner` at some pixels; memory is bounded."""
    cells = masks[queries].flatten(1).T.contiguous()
    for chunk in pixels.split(max(1, SAMPLED_VALUES // len(queries))):
        found = sampler.sample(cells, chunk).max(1).indices
        winner.view(-1)[chunk] = queries[found].to(winner.dtype)


def _argmax_of_resized(masks: Tensor, size: Size) -> Tensor:
    """As `_argmax`, for every pixel in the same way.

    A running maximum over one mask after the other: at the full size memory never holds more than
    the best values so far, the next mask and the index, however many masks there are.
    """
    best = resize(masks[:1], size)[0]
    winner = torch.zeros(size, dtype=torch.int32, device=masks.device)
    for i in range(1, len(masks)):
        rival = resize(masks[i : i + 1], size)[0]
        winner.masked_fill_(rival > best, i)
        torch.maximum(best, rival, out=best)
    return winner


def _shape(masks: Tensor) -> Size:
    return masks.shape[-2], masks.shape[-1]


def _enlarge(index: Tensor, size: Size | None) -> Tensor:
    """Bring int32 (h, w) to `size` by the nearest pixel; exact, since Q is far below 2**24."""
    if size is None or tuple(index.shape) == tuple(size):
        return index
    return F.interpolate(index[None, None].float(), size=size, mode="nearest-exact")[0, 0].int()


def _replace(index: Tensor, by: Mapping[int, int], count: int) -> Tensor:
    if not by:
        return index
    table = torch.arange(count, dtype=index.dtype, device=index.device)
    table[list(by)] = torch.tensor(list(by.values()), dtype=index.dtype, device=index.device)
    return _look_up(table, index)


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[index] for an int32 index of any shape."""
    return table.index_select(0, index.flatten()).view(index.shape)
