"""What a conversion did: counted as results come in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detr_d2.conversion.formats.base import LeftOut
from detr_d2.conversion.splits import Split, divide
from detr_d2.data.categories import CategoryTable

REASONS_SHOWN = 5


@dataclass
class Report:
    """What a conversion did. `left_out` has the reason for everything that gave no image."""

    images_in: int = 0
    images_out: int = 0
    segments: dict[str, int] = field(default_factory=dict)
    images_with: dict[str, int] = field(default_factory=dict)
    void_share: float = 0.0
    parts: dict[str, int] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


class Tally:
    """Counts for the report, and what the split needs of every photo.

    Args:
        table: the categories of the result.
        left_out: what the form has left out already.
    """

    def __init__(self, table: CategoryTable, left_out: Sequence[LeftOut]) -> None:
        self.names = {c.id: c.name for c in table.categories}
        self.report = Report(left_out=list(left_out))
        self.report.segments = dict.fromkeys(self.names.values(), 0)
        self.report.images_with = dict.fromkeys(self.names.values(), 0)
        self.looks: dict[str, int] = {}
        self.parts: dict[str, str] = {}
        self._void = 0.0

    def add(self, result: Mapping[str, Any]) -> None:
        """Count one result of `convert_photo`."""
        report = self.report
        report.images_in += 1
        if "reason" in result:
            report.left_out.append(LeftOut(result["sample"], result["reason"]))
            return
        report.images_out += 1
        self._void += result["void"]
        self.looks[result["sample"]] = result["look"]
        found = [self.names[s["category_id"]] for s in result["annotation"]["segments_info"]]
        for name in found:
            report.segments[name] += 1
        for name in set(found):
            report.images_with[name] += 1

    def finish(self, split: Split | None) -> Report:
        """Divide the photos, into `parts`, and complete the report."""
        self.parts = divide(self.looks, split)
        self.report.parts = dict(Counter(self.parts.values())) if split else {}
        self.report.void_share = round(self._void / max(1, self.report.images_out), 4)
        self.report.left_out.sort(key=lambda left_out: left_out.name)
        return self.report

    def reasons(self) -> str:
        """How many were left out, and why the first of them."""
        left_out = self.report.left_out
        shown = "; ".join(f"{item.name}: {item.reason}" for item in left_out[:REASONS_SHOWN])
        return f"{len(left_out)} left out" + (f": {shown}" if shown else "")
