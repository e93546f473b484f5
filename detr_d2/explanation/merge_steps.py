"""Follow the merge of masks to the panoptic map, argmax by argmax."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from detr_d2.ops.masks import Size


@dataclass(frozen=True)
class MergeStep:
    """One argmax.

    Attributes:
        alive: queries that compete.
        areas: pixels that each of them wins.
        dropped: those of them that win too few and leave.
        winner: int64 (H, W), the winning query of each pixel; None where nobody competes.
    """

    alive: list[int]
    areas: list[int]
    dropped: list[int]
    winner: Tensor | None


def merge_steps(
    masks: Tensor,
    queries: Sequence[int],
    min_area: int,
    size: Size | None = None,
    united: Mapping[int, int] | None = None,
) -> list[MergeStep]:
    """List every argmax until no segment is small.

    Args:
        masks: logits (q, h, w) of the queries above the threshold.
        queries: their q numbers, ascending.
        min_area: pixels.
        size: (H, W) to which the winners are enlarged; None = (h, w).
        united: query -> query that gets its pixels: stuff that is united before small segments are
            dropped, as published. None: it is united at the end, and competes on its own here.
    """
    number = torch.tensor(list(queries), dtype=torch.int64)
    heir = torch.tensor([list(queries).index((united or {}).get(q, q)) for q in queries])
    steps: list[MergeStep] = []
    alive = torch.arange(len(queries))
    while len(alive):
        winner = alive[masks[alive].argmax(0)]
        if size is not None and tuple(winner.shape) != tuple(size):
            winner = F.interpolate(winner[None, None].float(), size=size, mode="nearest-exact")
            winner = winner[0, 0].long()
        winner = heir[winner]
        areas = torch.bincount(winner.flatten(), minlength=len(queries))[alive]
        small = areas < max(min_area, 1)
        steps.append(
            MergeStep(
                number[alive].tolist(),
                areas.tolist(),
                number[alive[small]].tolist(),
                number[winner],
            )
        )
        if not small.any():
            return steps
        alive = alive[~small]
    return [*steps, MergeStep([], [], [], None)]
