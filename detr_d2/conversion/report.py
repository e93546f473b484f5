"""The report of a conversion, counted as results come in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detr_d2.conversion.formats.base import Skipped
from detr_d2.conversion.splits import Split, split_images
from detr_d2.data.categories import CategoryTable

REASONS_SHOWN = 5


@dataclass
class ConversionReport:
    """Counts of a conversion. `skipped` has the reason for everything that gave no image."""

    images_in: int = 0
    images_out: int = 0
    segments: dict[str, int] = field(default_factory=dict)
    images_with: dict[str, int] = field(default_factory=dict)
    void_share: float = 0.0
    parts: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)


class Tally:
    """Counts for the report, and the perceptual hashes that the split needs.

    Args:
        table: the categories of the result.
        skipped: by the annotation format, before the conversion.
    """

    def __init__(self, table: CategoryTable, skipped: Sequence[Skipped]) -> None:
        self.names = {c.id: c.name for c in table.categories}
        self.report = ConversionReport(skipped=list(skipped))
        self.report.segments = dict.fromkeys(self.names.values(), 0)
        self.report.images_with = dict.fromkeys(self.names.values(), 0)
        self.hashes: dict[str, int] = {}
        self.parts: dict[str, str] = {}
        self._void = 0.0

    def add(self, result: Mapping[str, Any]) -> None:
        """Count one result of `ImageConverter.convert`."""
        report = self.report
        report.images_in += 1
        if "reason" in result:
            report.skipped.append(Skipped(result["sample"], result["reason"]))
            return
        report.images_out += 1
        self._void += result["void"]
        self.hashes[result["sample"]] = result["hash"]
        found = [self.names[s["category_id"]] for s in result["annotation"]["segments_info"]]
        for name in found:
            report.segments[name] += 1
        for name in set(found):
            report.images_with[name] += 1

    def finish(self, split: Split | None) -> ConversionReport:
        """Divide the images into `parts`, and complete the report."""
        self.parts = split_images(self.hashes, split)
        self.report.parts = dict(Counter(self.parts.values())) if split else {}
        self.report.void_share = round(self._void / max(1, self.report.images_out), 4)
        self.report.skipped.sort(key=lambda skipped: skipped.name)
        return self.report

    def reasons(self) -> str:
        """Say how many were skipped, and why the first of them."""
        skipped = self.report.skipped
        shown = "; ".join(f"{item.name}: {item.reason}" for item in skipped[:REASONS_SHOWN])
        return f"{len(skipped)} skipped" + (f": {shown}" if shown else "")
