"""From drawn layers to one id map: the rules of the conversion, as pure functions.

Legend: H, W size of the photo. A pixel has one segment or none (void, id 0); ids count from 1.

Rules, in the order in which they are carried out:
1. The label map (if any) gives stuff one segment a class. Of things it gives every connected region
   a segment (8 neighbours; regions closer than `closing` pixels belong together; less than
   `min_area` pixels become void), or all pixels of the class one, or none (void).
2. The instance map (if any) is laid over it.
3. Layers are laid over that, the first in `order` below: large under small, or by the order of the
   classes, or as they come; equal ones as they come. Layers of a stuff class are one segment,
   layers of one group too.
   Crowds of one class are one segment.
4. Pixels that nothing has claimed become void, or the class "everything else". What the source
   declares as void stays void.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np

from detr_d2.data.coco_writer import describe_segments
from detr_d2.ops.panoptic_ids import compact

VOID = "__void__"
UNCLAIMED, DECLARED_VOID = 0, -1
Order = Literal["area", "class", "annotation"]
Things = Literal["components", "region", "void"]
ORDERS: tuple[str, ...] = ("area", "class", "annotation")
THINGS: tuple[str, ...] = ("components", "region", "void")


@dataclass(frozen=True)
class Rules:
    """How layers become segments.

    `order`: what lies on top where layers overlap: "area" small over large, "class" later classes
    over earlier ones, "annotation" later layers over earlier ones.
    `things`: things of a label map: "components", "region" or "void"; None leaves it to the form.
    `min_area`: pixels a region of a thing needs to become a segment of its own.
    `closing`: regions of a thing that are no more than about this many pixels apart are one.
    `rest`: name of the stuff class of all unlabelled pixels; None leaves them void.
    """

    order: Order = "area"
    things: Things | None = None
    min_area: int = 10
    closing: int = 0
    rest: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("order", ORDERS), ("things", (None, *THINGS))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}, allowed: {allowed}")
        if self.min_area < 0 or self.closing < 0:
            raise ValueError(f"min_area {self.min_area}, closing {self.closing}: must be from 0")


@dataclass
class Layer:
    """One painted region: `mask` (h, w) bool with its upper left pixel at `corner` (row, column).

    `key` is its class or VOID. Layers with the same class and the same `group` are one segment.
    """

    key: Hashable
    mask: np.ndarray
    corner: tuple[int, int] = (0, 0)
    group: Hashable = None
    crowd: bool = False


@dataclass
class Drawing:
    """All that a form knows of one photo, of `size` (H, W).

    `labels` (H, W): index of the class in the form's list + 1, 0 = unlabelled, -1 = void.
    `instances` (H, W): numbers of instances, 0 = none, -1 = void; `instance_classes` gives (class
    key, crowd) for each number.
    """

    size: tuple[int, int]
    labels: np.ndarray | None = None
    instances: np.ndarray | None = None
    instance_classes: dict[int, tuple[Hashable, bool]] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """A class as the rules need it: its key, whether it is a thing, its category id."""

    key: Hashable
    isthing: bool
    category_id: int


def paint(
    drawing: Drawing, kinds: Sequence[Kind], rules: Rules, rest_id: int | None = None
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Carry out the rules for one photo.

    Args:
        drawing: what the form has read.
        kinds: the form's classes, in the order that `drawing.labels` counts.
        rules: see `Rules`; `things` None means components.
        rest_id: category id for `rules.rest`, None to leave unclaimed pixels void.

    Returns:
        (H, W) int32 id map and its `segments_info`, measured.
    """
    canvas = _Canvas(drawing.size)
    by_key = {kind.key: kind for kind in kinds}
    if drawing.labels is not None:
        _paint_labels(canvas, drawing.labels, kinds, rules)
    if drawing.instances is not None:
        _paint_instances(canvas, drawing.instances, drawing.instance_classes, by_key)
    ranks = {kind.key: rank for rank, kind in enumerate(kinds)}
    for number, layer in _in_order(drawing.layers, rules.order, ranks):
        if layer.key == VOID:
            segment_id = DECLARED_VOID
        else:
            kind = by_key[layer.key]
            group = layer.group if layer.group is not None else ("layer", number)
            segment_id = canvas.segment(kind, group, layer.crowd)
        top, left = layer.corner
        height, width = layer.mask.shape
        canvas.ids[top : top + height, left : left + width][layer.mask] = segment_id
    if rest_id is not None:
        unclaimed = canvas.ids == UNCLAIMED
        if unclaimed.any():
            canvas.ids[unclaimed] = canvas.segment(Kind(None, False, rest_id), None, False)
    canvas.ids[canvas.ids < 0] = 0
    return canvas.finish()


class _Canvas:
    """An id map and what its ids stand for."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.ids = np.zeros(size, np.int32)
        self._known: dict[Hashable, int] = {}
        self._categories: dict[int, int] = {}
        self._crowds: set[int] = set()

    def segment(self, kind: Kind, group: Hashable, crowd: bool) -> int:
        """Id of the segment: the same again for the same stuff class or the same group.

        Crowds of a class are one: panoptic quality knows one crowd a class and photo, and counts
        predictions on another as mistakes.
        """
        what: Hashable = kind.category_id
        if kind.isthing:
            what = (kind.category_id, "crowd" if crowd else ("group", group))
        if what not in self._known:
            self._known[what] = number = len(self._known) + 1
            self._categories[number] = kind.category_id
            if crowd and kind.isthing:
                self._crowds.add(number)
        return self._known[what]

    def finish(self) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Number the segments that are seen from 1 without gaps, and measure them."""
        areas = np.bincount(self.ids.ravel(), minlength=len(self._known) + 1)
        seen = [int(i) for i in np.flatnonzero(areas) if i]
        table = np.zeros(len(areas), np.int32)
        table[seen] = np.arange(1, len(seen) + 1)
        ids = table[self.ids]
        categories = {int(table[i]): self._categories[i] for i in seen}
        crowds = {int(table[i]) for i in seen if i in self._crowds}
        return ids, describe_segments(ids, categories, crowds)


def _paint_labels(canvas: _Canvas, labels: np.ndarray, kinds: Sequence[Kind], rules: Rules) -> None:
    """Lay the label map on the bare canvas."""
    table = np.zeros(len(kinds) + 2, np.int32)
    table[0] = DECLARED_VOID
    present = np.bincount((labels + 1).ravel(), minlength=len(table))
    regions: list[Kind] = []
    for index, kind in enumerate(kinds):
        if not present[index + 2]:
            continue
        if not kind.isthing or rules.things == "region":
            table[index + 2] = canvas.segment(kind, "region", False)
        else:
            table[index + 2] = DECLARED_VOID
            if rules.things != "void":
                regions.append(kind)
    canvas.ids[:] = table[labels + 1]
    order = {kind.key: index + 1 for index, kind in enumerate(kinds)}
    for kind in regions:
        mask = labels == order[kind.key]
        for number, region in enumerate(split_regions(mask, rules.min_area, rules.closing)):
            top, left, piece = region
            window = canvas.ids[top : top + piece.shape[0], left : left + piece.shape[1]]
            window[piece] = canvas.segment(kind, ("region", number), False)


def split_regions(
    mask: np.ndarray, min_area: int = 0, closing: int = 0
) -> list[tuple[int, int, np.ndarray]]:
    """Split a mask (H, W) bool into its connected regions, 8 neighbours.

    Closing only decides what belongs together: it adds no pixel.

    Returns:
        (row, column, (h, w) bool) of every region of `min_area` pixels or more.
    """
    grown = mask.astype(np.uint8)
    if closing:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (closing + 1, closing + 1))
        border = closing + 1
        grown = np.pad(grown, border)
        grown = cv2.morphologyEx(grown, cv2.MORPH_CLOSE, disc)
        # Closing with an even disc may lose a pixel at the edge: what was there stays.
        grown = grown[border:-border, border:-border] | mask.astype(np.uint8)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(grown, connectivity=8)
    regions = []
    for number in range(1, len(stats)):
        left, top, width, height = (int(v) for v in stats[number, :4])
        window = (slice(top, top + height), slice(left, left + width))
        piece = (numbers[window] == number) & mask[window]
        if piece.sum() >= max(min_area, 1):
            regions.append((top, left, piece))
    return regions


def _paint_instances(
    canvas: _Canvas,
    instances: np.ndarray,
    classes: Mapping[int, tuple[Hashable, bool]],
    by_key: Mapping[Hashable, Kind],
) -> None:
    """Lay an instance map over the canvas."""
    numbers, inverse = compact(instances)
    table = np.zeros(len(numbers), np.int32)
    for index, number in enumerate(numbers):
        if number < 0:
            table[index] = DECLARED_VOID
        elif number in classes:
            key, crowd = classes[number]
            table[index] = canvas.segment(by_key[key], ("instance", number), crowd)
    painted = table[inverse]
    np.copyto(canvas.ids, painted, where=painted != 0)


def _in_order(
    layers: Sequence[Layer], order: str, ranks: Mapping[Hashable, int]
) -> list[tuple[int, Layer]]:
    """Layers with their numbers, undermost first."""
    numbered = list(enumerate(layers))
    if order == "area":
        numbered.sort(key=lambda pair: -int(pair[1].mask.sum()))
    elif order == "class":
        # Void, which is no class, lies on top.
        numbered.sort(key=lambda pair: ranks.get(pair[1].key, len(ranks)))
    return numbered
