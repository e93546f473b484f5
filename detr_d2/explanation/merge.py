"""Merge the masks of a recorded pass again, step by step or at another threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from detr_d2.explanation.recorded_pass import RecordedPass
from detr_d2.modeling import PanopticDetr
from detr_d2.modeling.panoptic_merge import panoptic_inference
from detr_d2.ops.masks import Size, resize


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


class Merge:
    """The merge of a recorded pass, from mask logits of the candidates.

    Args:
        recorded: the pass; its model is a `PanopticDetr`.
        candidates: queries of the logits.
        logits: (C, h, w).
    """

    def __init__(self, recorded: RecordedPass, candidates: list[int], logits: Tensor) -> None:
        assert isinstance(recorded.model, PanopticDetr)
        self.recorded = recorded
        self.model = recorded.model
        self.candidates = candidates
        self.logits = logits
        height, width = recorded.trace.get("images").shape[-2:]
        self.network: Size = (height, width)

    def kept(self, threshold: float) -> list[int]:
        """Queries that compete, ascending; all of them are candidates."""
        return self.recorded.competing(threshold)

    def masks(self, logits: Tensor, queries: list[int]) -> Tensor:
        """Logits of some queries at the size at which they compete."""
        rows = [self.candidates.index(query) for query in queries]
        at_ids = self.model.postprocess.resize == "ids"
        return resize(logits[rows], self.network if at_ids else self.recorded.size)

    def run(
        self, threshold: float, min_area: int, logits: Tensor | None = None
    ) -> tuple[Tensor, list[dict]]:
        """Do what `panoptic_inference` does for a threshold, with these or other logits."""
        queries = self.kept(threshold)
        found = self.recorded.queries()
        return panoptic_inference(
            self.masks(self.logits if logits is None else logits, queries),
            found.scores[queries],
            found.classes[queries],
            thing_ids=self.model.postprocess.thing_ids,
            min_area=min_area,
            unite_stuff=self.model.postprocess.unite_stuff,
            size=self.recorded.size,
        )

    def rounding_step(self, share: float) -> float:
        """Distance of two levels of the packed logits: `share`, or that share of the usual margin.

        The margin, best logit minus second best, is small where masks hardly differ, as in a model
        that has just begun to learn; its median over the pixels counts.
        """
        rows = [self.candidates.index(q) for q in self.kept(self.model.postprocess.score_thresh)]
        if len(rows) < 2:
            return share
        best = self.logits[rows].topk(2, 0).values
        margin = (best[0] - best[1]).median().item()
        spread = (self.logits.max() - self.logits.min()).item()
        return max(share * min(1.0, margin), spread / 65000, 1e-9)

    def steps(self) -> list[MergeStep]:
        """Every argmax at the model's own threshold and minimum area."""
        queries = self.kept(self.model.postprocess.score_thresh)
        early = self.model.postprocess.unite_stuff == "before_filtering"
        return merge_steps(
            self.masks(self.logits, queries),
            queries,
            self.model.postprocess.min_area,
            self.recorded.size,
            self._united(queries) if early else None,
        )

    def _united(self, queries: list[int]) -> dict[int, int]:
        """First query of the same stuff class."""
        classes = self.recorded.queries().classes
        first: dict[int, int] = {}
        for query in queries:
            first.setdefault(int(classes[query]), query)
        things = self.model.postprocess.thing_ids
        return {q: first[int(classes[q])] for q in queries if int(classes[q]) not in things}

    def segment_queries(self, ids: Tensor, steps: Sequence[MergeStep]) -> dict[int, list[int]]:
        """Queries that make up each segment of a map (H, W): those most of whose pixels it has."""
        winner = steps[-1].winner if steps else None
        result: dict[int, list[int]] = {}
        if winner is not None:
            for query in winner.unique().tolist():
                segment = int(ids[winner == query].mode().values)
                result.setdefault(segment, []).append(query)
        return result
