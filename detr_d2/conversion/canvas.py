"""The id map of one image while it is being painted, and what its ids stand for."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from detr_d2.data.coco_writer import describe_segments

# Values on the canvas that are no segment: nothing was put there, or nothing may be.
UNCLAIMED, DECLARED_VOID = 0, -1


@dataclass(frozen=True)
class Kind:
    """A class as the rules need it: its key, whether it is a thing, its category id."""

    key: Hashable
    isthing: bool
    category_id: int


class Canvas:
    """An id map `ids` (H, W) int32 and what its ids stand for.

    Args:
        size: (H, W).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.ids = np.zeros(size, np.int32)
        self._known: dict[Hashable, int] = {}
        self._categories: dict[int, int] = {}
        self._crowds: set[int] = set()

    def segment(self, kind: Kind, group: Hashable, crowd: bool) -> int:
        """Id of the segment: the same again for the same stuff class or the same group.

        Crowds of a class are one: panoptic quality knows one crowd a class and image, and counts
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
