"""Turn the annotation of one image into a panoptic id map: the rules, as pure functions.

Legend: H, W size of the image. A pixel has one segment or none (void, id 0); ids count from 1.

Rules, in the order in which they are carried out:
1. The class map (if any) gives each stuff class one segment. Of a thing class it gives every
   connected region a segment (8 neighbours; regions closer than `closing` pixels belong together;
   less than `min_area` pixels become void), or all pixels of the class one, or none (void).
2. The instance map (if any) is laid over it.
3. Regions are laid over that, the first in `order` below: large under small, or by the order of the
   classes, or as they come; equal ones as they come. Regions of a stuff class are one segment,
   regions of one group too. Crowds of one class are one segment.
4. Pixels without any annotation become void, or the background class. What the source declares as
   void stays void.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from detr_d2.conversion.image_annotation import HIDDEN, TOO_SMALL, VOID, ImageAnnotation, Region
from detr_d2.data.coco_writer import describe_segments
from detr_d2.ops.panoptic_ids import compact

Order = Literal["area", "class", "annotation"]
Things = Literal["components", "region", "void"]
ORDERS: tuple[str, ...] = ("area", "class", "annotation")
THINGS: tuple[str, ...] = ("components", "region", "void")
# The number of annotations that gave no segment, by reason and category id.
Lost = Counter[tuple[str, int]]
Component = tuple[int, int, np.ndarray]
# Values of an unfinished id map that are no segment: not annotated, or declared as void.
UNLABELLED, DECLARED_VOID = 0, -1


@dataclass(frozen=True)
class Rules:
    """How annotations become segments.

    `order`: what lies on top where regions overlap: "area" small over large, "class" later classes
    over earlier ones, "annotation" later regions over earlier ones.
    `things`: things of a class map: "components", "region" or "void"; None leaves it to the format.
    `min_area`: pixels a region of a thing needs to become a segment of its own.
    `closing`: regions of a thing that are no more than about this many pixels apart are one.
    `background_class`: name of the stuff class of all unlabelled pixels; None leaves them void.
    """

    order: Order = "area"
    things: Things | None = None
    min_area: int = 10
    closing: int = 0
    background_class: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("order", ORDERS), ("things", (None, *THINGS))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}, allowed: {allowed}")
        if self.min_area < 0 or self.closing < 0:
            raise ValueError(f"min_area {self.min_area}, closing {self.closing}: must be from 0")


@dataclass(frozen=True)
class TargetClass:
    """A class in the result: its key in the source, whether it is a thing, its category id."""

    key: Hashable
    isthing: bool
    category_id: int


class SegmentMap:
    """An unfinished id map `ids` (H, W) int32 of a size (H, W), and its lost annotations."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.ids = np.zeros(size, np.int32)
        self.lost: Lost = Counter()
        self._known: dict[Hashable, int] = {}
        self._categories: dict[int, int] = {}
        self._crowds: set[int] = set()

    def segment_id(self, target: TargetClass, group: Hashable, crowd: bool) -> int:
        """Id of a segment: the same again for the same stuff class or the same group.

        Crowds of a class are one: panoptic quality knows one crowd per class and image, and counts
        predictions on another as mistakes.
        """
        identity: Hashable = target.category_id
        if target.isthing:
            identity = (target.category_id, "crowd" if crowd else ("group", group))
        if identity not in self._known:
            self._known[identity] = number = len(self._known) + 1
            self._categories[number] = target.category_id
            if crowd and target.isthing:
                self._crowds.add(number)
        return self._known[identity]

    def finish(self) -> tuple[np.ndarray, list[dict[str, Any]], Lost]:
        """Number the visible segments from 1 without gaps, measure them, and count the others."""
        self.ids[self.ids < 0] = 0
        areas = np.bincount(self.ids.ravel(), minlength=len(self._known) + 1)
        seen = [int(i) for i in np.flatnonzero(areas) if i]
        table = np.zeros(len(areas), np.int32)
        table[seen] = np.arange(1, len(seen) + 1)
        ids = table[self.ids]
        categories = {int(table[i]): self._categories[i] for i in seen}
        crowds = {int(table[i]) for i in seen if i in self._crowds}
        hidden = (c for i, c in self._categories.items() if not areas[i])
        self.lost.update((HIDDEN, category_id) for category_id in hidden)
        return ids, describe_segments(ids, categories, crowds), self.lost


def rasterize(
    annotation: ImageAnnotation,
    classes: Sequence[TargetClass],
    rules: Rules,
    background_id: int | None = None,
) -> tuple[np.ndarray, list[dict[str, Any]], Lost]:
    """Apply the rules to one image.

    Args:
        annotation: read by the annotation format.
        classes: of the format, in the order that `annotation.class_map` counts.
        rules: see `Rules`; `things` None means components.
        background_id: category id of `rules.background_class`, None to leave unlabelled pixels
            void.

    Returns:
        (H, W) int32 id map; its `segments_info`, measured; the annotations without a segment.
    """
    segments = SegmentMap(annotation.size)
    by_key = {target.key: target for target in classes}
    segments.lost.update(
        (why, by_key[key].category_id) for why, key in annotation.lost if key != VOID
    )
    if annotation.class_map is not None:
        _add_class_map(segments, annotation.class_map, classes, rules)
    if annotation.instance_map is not None:
        _add_instance_map(segments, annotation.instance_map, annotation.instance_classes, by_key)
    ranks = {target.key: rank for rank, target in enumerate(classes)}
    for number, region in _bottom_to_top(annotation.regions, rules.order, ranks):
        if region.key == VOID:
            segment_id = DECLARED_VOID
        else:
            group = region.group if region.group is not None else ("region", number)
            segment_id = segments.segment_id(by_key[region.key], group, region.crowd)
        region.fill(segments.ids, segment_id)
    if background_id is not None:
        unlabelled = segments.ids == UNLABELLED
        if unlabelled.any():
            background = TargetClass(None, False, background_id)
            segments.ids[unlabelled] = segments.segment_id(background, None, False)
    return segments.finish()


def _add_class_map(
    segments: SegmentMap, class_map: np.ndarray, classes: Sequence[TargetClass], rules: Rules
) -> None:
    """Put a class map into the empty segment map."""
    table = np.zeros(len(classes) + 2, np.int32)
    table[0] = DECLARED_VOID
    present = np.bincount((class_map + 1).ravel(), minlength=len(table))
    split: list[tuple[int, TargetClass]] = []
    for label, target in enumerate(classes, start=1):
        if not present[label + 1]:
            continue
        if not target.isthing or rules.things == "region":
            table[label + 1] = segments.segment_id(target, "region", False)
        else:
            table[label + 1] = DECLARED_VOID
            if rules.things != "void":
                split.append((label, target))
    segments.ids[:] = table[class_map + 1]
    for label, target in split:
        for number, (top, left, mask) in enumerate(components(class_map == label, rules.closing)):
            if mask.sum() < rules.min_area:
                segments.lost[TOO_SMALL, target.category_id] += 1
                continue
            segment_id = segments.segment_id(target, ("component", number), False)
            height, width = mask.shape
            segments.ids[top : top + height, left : left + width][mask] = segment_id


def _add_instance_map(
    segments: SegmentMap,
    instance_map: np.ndarray,
    instance_classes: Mapping[int, tuple[Hashable, bool]],
    by_key: Mapping[Hashable, TargetClass],
) -> None:
    """Lay an instance map over what is there."""
    numbers, positions = compact(instance_map)
    table = np.zeros(len(numbers), np.int32)
    for position, number in enumerate(numbers):
        if number < 0:
            table[position] = DECLARED_VOID
        elif number in instance_classes:
            key, crowd = instance_classes[number]
            table[position] = segments.segment_id(by_key[key], ("instance", number), crowd)
    ids = table[positions]
    np.copyto(segments.ids, ids, where=ids != 0)


def _bottom_to_top(
    regions: Sequence[Region], order: str, ranks: Mapping[Hashable, int]
) -> list[tuple[int, Region]]:
    """Regions with their numbers, the lowest first."""
    numbered = list(enumerate(regions))
    if order == "area":
        numbered.sort(key=lambda pair: -pair[1].area)
    elif order == "class":
        # Void, which is no class, lies on top.
        numbered.sort(key=lambda pair: ranks.get(pair[1].key, len(ranks)))
    return numbered


def components(mask: np.ndarray, closing: int = 0) -> Iterator[Component]:
    """Split a mask (H, W) bool into its connected components, 8 neighbours.

    Closing only decides which pixels belong together: it adds none.

    Yields:
        (row, column, (h, w) bool) of each, one at a time: long ones that lie across an image may
        overlap so much that all of them would not fit into memory.
    """
    closed = mask.astype(np.uint8)
    if closing:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (closing + 1, closing + 1))
        border = closing + 1
        closed = cv2.morphologyEx(np.pad(closed, border), cv2.MORPH_CLOSE, disc)
        # Closing with an even disc may lose a pixel at the edge: what was there stays.
        closed = closed[border:-border, border:-border] | mask.astype(np.uint8)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    for number in range(1, len(stats)):
        left, top, width, height = (int(v) for v in stats[number, :4])
        window = (slice(top, top + height), slice(left, left + width))
        component = (numbers[window] == number) & mask[window]
        if component.any():
            yield top, left, component
