"""Merge custom masks and a model's panoptic prediction of one image into one map, without leaks.

A leak is what remains of the model's own segment of a custom object: it takes a wheel loader for a
truck, a little larger than its mask, and a border of "truck" stays around the mask. So a predicted
thing of which much lies under custom masks is that object, and all of it goes.

Legend: H, W size of the image in pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from detr_d2.pseudo_labels.label_map import LabelMap

FILLS = ("nearest", "next-best", "void")
# Used where the rules leave a size to the image: they grow with it.
HALO_SHARE, AREA_SHARE = 0.01, 0.001


@dataclass(frozen=True)
class MergeRules:
    """The rules by which custom masks displace a prediction.

    Attributes:
        overlap: a predicted thing of which a larger share than this lies under custom masks is one
            of their objects, seen by the model; its pixels outside become open. 1 = never.
        halo: pixels; what is left of a segment beside a custom mask is open where it is nowhere
            thicker than twice this. None = 1 % of the image's shorter side.
        min_area: pixels; likewise where what is left is smaller. None = 0.1 % of the image.
        margin: pixels; predicted things so close to a custom mask are open.
        min_score: segments that the model is less sure of are void. Those without a score are kept.
        min_confidence: pixels at which the model is less sure of every class are void: there no
            mask claims the pixel, and the best of the bad is a guess. Above 0 it needs a model
            that gives `sem_seg`.
        fill: what open pixels become: "nearest" stuff of the model, its "next-best" stuff class at
            the pixel, or "void".
    """

    overlap: float = 0.2
    halo: int | None = None
    min_area: int | None = None
    margin: int = 0
    min_score: float = 0.5
    min_confidence: float = 0.3
    fill: str = "nearest"

    def __post_init__(self) -> None:
        faults = []
        for key in ("overlap", "min_score", "min_confidence"):
            if not 0 <= getattr(self, key) <= 1:
                faults.append(f"{key} {getattr(self, key)}, must be in 0..1")
        for key in ("halo", "min_area", "margin"):
            if (getattr(self, key) or 0) < 0:
                faults.append(f"{key} {getattr(self, key)}, must be 0 or more pixels")
        if self.fill not in FILLS:
            faults.append(f"fill {self.fill!r}, allowed: {FILLS}")
        if faults:
            raise ValueError("rules of the merge: " + "; ".join(faults))

    @property
    def per_pixel(self) -> bool:
        """Whether they need the model's scores of every class at every pixel (`sem_seg`)."""
        return self.fill == "next-best" or self.min_confidence > 0


@dataclass(frozen=True)
class Predicted:
    """A model's prediction of one image, its classes already those of the result.

    Attributes:
        ids: (H, W) integers, the segment of each pixel, 0 = nothing.
        segments: `id`, `isthing` (for the model), `category_id` (of the result, None = void),
            `name` (the model's class), `score` (0..1 or None) of each.
        keeps_things: category ids of the result that are things.
        stuff: (H, W) integers, the category id of the best stuff class at each pixel, 0 = void, or
            None: not known.
        confidence: (H, W) floats in 0..1, how sure the model is at each pixel, or None.
    """

    ids: np.ndarray
    segments: Sequence[Mapping[str, Any]]
    keeps_things: frozenset[int] = frozenset()
    stuff: np.ndarray | None = None
    confidence: np.ndarray | None = None


def merge_labels(
    custom_ids: np.ndarray,
    custom_segments: Sequence[Mapping[str, Any]],
    predicted: Predicted,
    rules: MergeRules,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Merge one image's custom masks and prediction.

    Args:
        custom_ids: (H, W) segment ids of the custom masks, 0 = to be labelled.
        custom_segments: `id`, `category_id` (of the result), and maybe `iscrowd`, of each.
        predicted: the model's part, of the same size.
        rules: see `MergeRules`.

    Returns:
        (H, W) int32 segment ids, 0 = void, in which the custom masks are as they were, and the
        segments: `id`, `category_id`, `iscrowd` and `provenance`: `source` ("custom" or "model"),
        `classes` (the model's names), `score` (mean by area; None unknown), `filled` (pixels
        that were given to it).

    Raises:
        ValueError: the sizes differ.
    """
    if custom_ids.shape != predicted.ids.shape:
        raise ValueError(f"masks {custom_ids.shape} and prediction {predicted.ids.shape} differ")
    custom = custom_ids != 0
    kept, open_ = _kept_pixels(custom, predicted, rules)
    result = LabelMap(custom_ids, custom_segments)
    result.add_model(np.where(kept, predicted.ids, 0), predicted.segments, predicted.keeps_things)
    if rules.fill != "void" and open_.any():
        _fill(result, open_, kept, predicted, rules)
    return result.ids, result.finish()


def _kept_pixels(
    custom: np.ndarray, predicted: Predicted, rules: MergeRules
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W) bool that keep their predicted segment, and those to be filled."""
    outside = ~custom
    open_ = np.zeros_like(custom)
    dropped = np.zeros_like(custom)
    beside = cv2.dilate(custom.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
    for segment in predicted.segments:
        mask = predicted.ids == segment["id"]
        left = mask & outside
        under = int(mask.sum()) - int(left.sum())
        score = segment["score"]
        if segment["isthing"] and under > rules.overlap * mask.sum():
            open_ |= left
        elif score is not None and score < rules.min_score:
            dropped |= left
        elif (left & beside).any():
            open_ |= _remains(left, beside, rules)
    if rules.margin:
        size = 2 * rules.margin + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        near = cv2.dilate(custom.view(np.uint8), disc).view(bool)
        things = [s["id"] for s in predicted.segments if s["isthing"]]
        open_ |= near & outside & np.isin(predicted.ids, things)
    if predicted.confidence is not None:
        dropped |= outside & (predicted.confidence < rules.min_confidence)
    open_ &= ~dropped
    return outside & ~open_ & ~dropped & (predicted.ids != 0), open_


def _remains(left: np.ndarray, beside: np.ndarray, rules: MergeRules) -> np.ndarray:
    """The thin or small pieces that are left of a segment beside a custom mask: (H, W) bool."""
    height, width = left.shape
    halo = max(1, round(HALO_SHARE * min(height, width))) if rules.halo is None else rules.halo
    least = round(AREA_SHARE * height * width) if rules.min_area is None else rules.min_area
    # Only around the segment: an image of twelve megapixels has thirty of them.
    x, y, w, h = cv2.boundingRect(left.view(np.uint8))
    part = slice(max(0, y - halo), y + h + halo), slice(max(0, x - halo), x + w + halo)
    pixels = left[part].view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=4)
    is_removed = stats[:, cv2.CC_STAT_AREA] < least
    if halo:
        # The image's border counts as inside: what it cuts off is no thinner for that.
        thick = cv2.erode(pixels, np.ones((2 * halo + 1, 2 * halo + 1), np.uint8)).view(bool)
        is_removed |= np.bincount(labels[thick], minlength=count) == 0
    is_removed &= np.bincount(labels[left[part] & beside[part]], minlength=count) > 0
    is_removed[0] = False
    remains = np.zeros_like(left)
    remains[part] = is_removed[labels]
    return remains


def _fill(
    result: LabelMap,
    open_: np.ndarray,
    kept: np.ndarray,
    predicted: Predicted,
    rules: MergeRules,
) -> None:
    """Give open pixels to stuff of the model, where there is any."""
    if rules.fill == "next-best" and predicted.stuff is not None:
        for category in np.unique(predicted.stuff[open_]).tolist():
            if category != 0:
                chosen = open_ & (predicted.stuff == category)
                result.fill(chosen, result.stuff_segment(category))
                open_ = open_ & ~chosen
    stuff = [
        s["id"] for s in predicted.segments if not s["isthing"] and s["category_id"] is not None
    ]
    sources = kept & np.isin(predicted.ids, stuff)
    if sources.any() and open_.any():
        result.fill(open_, result.ids[nearest_pixel(sources, open_)])


def nearest_pixel(sources: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the nearest source for every wanted pixel.

    Args:
        sources, wanted: (H, W) bool; at least one source.

    Returns:
        Two integer vectors, in the order of `np.nonzero(wanted)`.
    """
    _, labels = cv2.distanceTransformWithLabels(
        (~sources).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(sources)
    place = np.zeros(labels.max() + 1, np.int64)
    place[labels[rows, columns]] = np.arange(len(rows))
    nearest = place[labels[wanted]]
    return rows[nearest], columns[nearest]
