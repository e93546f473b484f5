"""The label map of one image, and where each of its segments comes from."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class LabelMap:
    """The map of one image as it grows: custom segments as they are, then those of the model.

    A stuff class has one segment; ids are the lowest that are free.

    Args:
        custom_ids: (H, W) segment ids of the custom masks, 0 = none.
        custom_segments: `id`, `category_id` and maybe `iscrowd` of each.
    """

    def __init__(
        self, custom_ids: np.ndarray, custom_segments: Sequence[Mapping[str, Any]]
    ) -> None:
        self.ids = custom_ids.astype(np.int32)
        self._custom = [
            {
                "id": s["id"],
                "category_id": s["category_id"],
                "iscrowd": int(s.get("iscrowd", 0)),
                "provenance": {"source": "custom", "classes": [], "score": None, "filled": 0},
            }
            for s in custom_segments
        ]
        taken = {s["id"] for s in custom_segments}
        self._free = (number for number in itertools.count(1) if number not in taken)
        self._model: dict[int, _Labelled] = {}
        self._stuff: dict[int, int] = {}

    def add_model(
        self, kept: np.ndarray, segments: Sequence[Mapping[str, Any]], things: Collection[int]
    ) -> None:
        """Add what is kept of a prediction.

        Args:
            kept: (H, W) the prediction's own ids, 0 where it is not kept.
            segments: see `merge.Predicted`.
            things: category ids of which every segment stays on its own.
        """
        for segment in segments:
            mask = kept == segment["id"]
            area, category = int(mask.sum()), segment["category_id"]
            if category is None or area == 0:
                continue
            number = self._new(category) if category in things else self.stuff_segment(category)
            self.ids[mask] = number
            self._model[number].parts.append((segment["name"], segment["score"], area))

    def stuff_segment(self, category: int) -> int:
        """The id of the one segment of a stuff class."""
        if category not in self._stuff:
            self._stuff[category] = self._new(category)
        return self._stuff[category]

    def fill(self, wanted: np.ndarray, numbers: np.ndarray | int) -> None:
        """Give pixels (H, W) bool to segments of the model, one id for all or one each."""
        self.ids[wanted] = numbers
        found, counts = np.unique(self.ids[wanted], return_counts=True)
        for number, count in zip(found.tolist(), counts.tolist(), strict=True):
            self._model[number].filled += count

    def finish(self) -> list[dict[str, Any]]:
        """The segments: the custom ones, then the model's."""
        return self._custom + [
            {
                "id": number,
                "category_id": labelled.category,
                "iscrowd": 0,
                "provenance": labelled.provenance(),
            }
            for number, labelled in self._model.items()
        ]

    def _new(self, category: int) -> int:
        number = next(self._free)
        self._model[number] = _Labelled(category)
        return number


@dataclass
class _Labelled:
    """A segment of the model: of which (class, score, pixels) it was made, and what was filled."""

    category: int
    parts: list[tuple[str, float | None, int]] = field(default_factory=list)
    filled: int = 0

    def provenance(self) -> dict[str, Any]:
        known = [(score, area) for _, score, area in self.parts if score is not None]
        pixels = sum(area for _, area in known)
        mean = sum(score * area for score, area in known) / pixels if known else None
        return {
            "source": "model",
            "classes": sorted({name for name, _, _ in self.parts}),
            "score": None if mean is None else round(mean, 4),
            "filled": self.filled,
        }
