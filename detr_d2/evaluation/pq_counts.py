"""Panoptic quality (Kirillov et al., arXiv:1801.00868, section 4), counted image by image.

Legend: H, W image height and width; T, F numbers of segments of the ground truth and of
the prediction. Segment id 0 is void.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

VOID = 0
GROUPS: dict[str, tuple[int, ...]] = {"All": (0, 1), "Things": (1,), "Stuff": (0,)}
# The IoU of a match lies in (0.5, 1], where every float is a whole multiple of this.
IOU_UNIT = 2.0**-53


class PanopticMap(NamedTuple):
    """One side of one image: `ids` (H, W) integers, and `id` and `category_id` of each segment."""

    ids: np.ndarray
    segments: Sequence[Mapping[str, Any]]


@dataclass
class PanopticCounts:
    """Sums by category id that panoptic quality follows from; those of parts of a set add up.

    Args:
        iou: sum over the matches in units of IOU_UNIT: exact, so that it depends neither on the
            order of the images nor on how many processes share them.
        tp, fp, fn: matches, predicted segments without one, ground-truth segments without one.
    """

    iou: Counter[int] = field(default_factory=Counter)
    tp: Counter[int] = field(default_factory=Counter)
    fp: Counter[int] = field(default_factory=Counter)
    fn: Counter[int] = field(default_factory=Counter)

    def update(self, other: "PanopticCounts") -> None:
        """Add the sums of other images."""
        self.iou.update(other.iou)
        self.tp.update(other.tp)
        self.fp.update(other.fp)
        self.fn.update(other.fn)

    def quality(self, category: int) -> dict[str, float] | None:
        """`pq`, `sq`, `rq` of a category in [0, 1]; None if neither side has a segment of it."""
        iou, tp = self.iou[category] * IOU_UNIT, self.tp[category]
        weight = tp + 0.5 * self.fp[category] + 0.5 * self.fn[category]
        if not weight:
            return None
        return {"pq": iou / weight, "sq": iou / tp if tp else 0.0, "rq": tp / weight}

    def average(self, categories: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
        """Average over the categories present.

        Args:
            categories: entries of the COCO-panoptic JSON (`id`, `isthing`).

        Returns:
            For "All", "Things" and "Stuff": `pq`, `sq`, `rq`, NaN if there are none, and `n`, the
            number of categories.
        """
        present = [(c["isthing"], q) for c in categories if (q := self.quality(c["id"]))]
        result = {}
        for group, kinds in GROUPS.items():
            chosen = [quality for isthing, quality in present if isthing in kinds]
            n = len(chosen)
            means = {
                k: sum(q[k] for q in chosen) / n if n else math.nan for k in ("pq", "sq", "rq")
            }
            result[group] = {**means, "n": n}
        return result


def count_image(
    ground_truth: PanopticMap, prediction: PanopticMap, categories: Collection[int], name: str
) -> PanopticCounts:
    """Match the segments of one image, as panopticapi's `pq_compute` does.

    Segments of one category match where their IoU, without void pixels, is above 0.5. Crowds match
    nothing. A predicted segment without a match does not count if more than half of it lies on void
    and on the last crowd of its category. Areas are counted from the maps: panopticapi believes the
    JSON's, and a wrong one gives qualities far above 1.

    Args:
        ground_truth: `iscrowd` 1 for crowds; no segment has the id 0.
        prediction: the segments that were found.
        categories: the category ids that are allowed.
        name: what the image is called in messages.

    Raises:
        ValueError: the sizes differ, a category is unknown, or the predicted map and its segments
            disagree.
    """
    if ground_truth.ids.shape != prediction.ids.shape:
        sizes = f"{ground_truth.ids.shape}, prediction of {prediction.ids.shape}"
        raise ValueError(f"{name}: ground truth of {sizes} pixels")
    expected = {s["id"]: s for s in ground_truth.segments}
    found = {s["id"]: s for s in prediction.segments}
    _check_categories(f"{name}: ground-truth", expected, categories)
    _check_categories(f"{name}: predicted", found, categories)
    areas = _joint_areas(ground_truth.ids, [*expected, VOID], prediction.ids, [*found, VOID])
    _check_segments(name, prediction.ids, found, areas)

    iou = _iou(areas, list(expected.values()), list(found.values()))
    counts = PanopticCounts()
    # Forgiven pixels by category: void and, where there are several, the last crowd alone.
    void = areas[len(expected)]
    forgiven: dict[int, np.ndarray] = {}
    for segment, overlaps, ious in zip(expected.values(), areas, iou, strict=False):
        category = segment["category_id"]
        if segment.get("iscrowd", 0) == 1:
            forgiven[category] = void + overlaps
        elif ious.max(initial=0) > 0.5:
            counts.tp[category] += 1
            counts.iou[category] += int(ious.max() / IOU_UNIT)
        else:
            counts.fn[category] += 1
    for column, segment in enumerate(found.values()):
        category = segment["category_id"]
        ignored = forgiven.get(category, void)[column] / areas[:, column].sum()
        if iou[:, column].max(initial=0) <= 0.5 and ignored <= 0.5:
            counts.fp[category] += 1
    return counts


def _joint_areas(
    left: np.ndarray, left_ids: list[int], right: np.ndarray, right_ids: list[int]
) -> np.ndarray:
    """Pixels of each pair of listed ids, int64; the last row and column hold what is not listed.

    Counted by runs of equal pairs, which are a hundred times fewer than pixels.
    """
    left, right = left.ravel(), right.ravel()
    changes = left[1:] != left[:-1]
    changes |= right[1:] != right[:-1]
    starts = np.flatnonzero(changes) + 1
    starts = np.concatenate([np.zeros(min(1, left.size), np.intp), starts])
    rows, columns = _places(left[starts], left_ids), _places(right[starts], right_ids)
    shape = len(left_ids) + 1, len(right_ids) + 1
    lengths = np.diff(starts, append=left.size)
    # bincount adds in float64, which is exact below 2**53 pixels.
    areas = np.bincount(rows * shape[1] + columns, lengths, shape[0] * shape[1])
    return areas.astype(np.int64).reshape(shape)


def _places(values: np.ndarray, listed: list[int]) -> np.ndarray:
    """Where each value is first listed; len(listed) for those that are not."""
    numbers = np.array(listed, np.int64)
    order = np.argsort(numbers, kind="stable")
    places = order[np.searchsorted(numbers, values, sorter=order).clip(max=len(listed) - 1)]
    return np.where(numbers[places] == values, places, len(listed))


def _iou(
    areas: np.ndarray, expected: list[Mapping[str, Any]], found: list[Mapping[str, Any]]
) -> np.ndarray:
    """IoU (T, F) of the pairs that may match, else 0; void pixels belong to no union."""
    t, f = len(expected), len(found)
    categories = np.array([s["category_id"] for s in (*expected, *found)], np.int64)
    may = categories[:t, None] == categories[t:]
    may[[s.get("iscrowd", 0) == 1 for s in expected]] = False
    shared = areas[:t, :f]
    both = areas[:t].sum(1)[:, None] + areas[:, :f].sum(0)
    union = both - shared - areas[t, :f]
    return np.divide(shared, union, out=np.zeros((t, f)), where=may & (shared > 0))


def _check_categories(
    side: str, segments: Mapping[int, Mapping[str, Any]], categories: Collection[int]
) -> None:
    for number, segment in segments.items():
        if segment["category_id"] not in categories:
            raise ValueError(
                f"{side} segment {number} has category {segment['category_id']}, "
                f"allowed: {sorted(categories)}"
            )


def _check_segments(
    name: str, ids: np.ndarray, found: Mapping[int, Any], areas: np.ndarray
) -> None:
    """The predicted map and its segments must agree, as panopticapi wants it."""
    shown = areas.sum(0)
    absent = [number for number, area in zip(found, shown, strict=False) if not area]
    if absent:
        raise ValueError(f"{name}: predicted segments {absent} are listed, but have no pixel")
    if shown[-1]:
        unlisted = np.setdiff1d(ids, [*found, VOID])
        raise ValueError(f"{name}: predicted ids {unlisted[:5].tolist()} have no segment listed")
