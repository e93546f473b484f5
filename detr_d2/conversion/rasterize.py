"""From drawn layers to one id map: the rules of the conversion, as pure functions.

Legend: H, W size of the image. A pixel has one segment or none (void, id 0); ids count from 1.

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
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from detr_d2.conversion.canvas import DECLARED_VOID, UNCLAIMED, Canvas, Kind
from detr_d2.conversion.formats.drawing import VOID, Drawing, Layer
from detr_d2.conversion.regions import split_regions
from detr_d2.ops.panoptic_ids import compact

Order = Literal["area", "class", "annotation"]
Things = Literal["components", "region", "void"]
ORDERS: tuple[str, ...] = ("area", "class", "annotation")
THINGS: tuple[str, ...] = ("components", "region", "void")


@dataclass(frozen=True)
class Rules:
    """How layers become segments.

    `order`: what lies on top where layers overlap: "area" small over large, "class" later classes
    over earlier ones, "annotation" later layers over earlier ones.
    `things`: things of a label map: "components", "region" or "void"; None leaves it to the format.
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


def paint(
    drawing: Drawing, kinds: Sequence[Kind], rules: Rules, rest_id: int | None = None
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Carry out the rules for one image.

    Args:
        drawing: what the annotation format has read.
        kinds: the annotation format's classes, in the order that `drawing.labels` counts.
        rules: see `Rules`; `things` None means components.
        rest_id: category id for `rules.rest`, None to leave unclaimed pixels void.

    Returns:
        (H, W) int32 id map and its `segments_info`, measured.
    """
    canvas = Canvas(drawing.size)
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


def _paint_labels(canvas: Canvas, labels: np.ndarray, kinds: Sequence[Kind], rules: Rules) -> None:
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


def _paint_instances(
    canvas: Canvas,
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
