"""Count the results of a conversion, and write them as text."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detr_d2.conversion.formats.base import Skipped
from detr_d2.conversion.splits import Split, split_images
from detr_d2.data.categories import CategoryTable

SHOWN = 10


@dataclass
class BadAnnotations:
    """The number of annotations that were skipped for one reason, and the first message."""

    count: int
    example: str


@dataclass
class ConversionReport:
    """Counts of a conversion.

    `skipped` has the reason for everything that gave no image, `lost_annotations` the number of
    annotations that gave no segment, by reason and class, `bad_annotations` those unreadable.
    """

    images_in: int = 0
    images_out: int = 0
    segments: dict[str, int] = field(default_factory=dict)
    images_with: dict[str, int] = field(default_factory=dict)
    void_share: float = 0.0
    parts: dict[str, int] = field(default_factory=dict)
    lost_annotations: dict[str, dict[str, int]] = field(default_factory=dict)
    bad_annotations: list[BadAnnotations] = field(default_factory=list)
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
        self._bad: dict[str, BadAnnotations] = {}

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
        for reason, category_id, count in result["lost"]:
            classes = report.lost_annotations.setdefault(reason, {})
            name = self.names[category_id]
            classes[name] = classes.get(name, 0) + count
        for message in result["bad"]:
            self._bad.setdefault(_kind_of(message), BadAnnotations(0, message)).count += 1
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
        self.report.bad_annotations = sorted(self._bad.values(), key=lambda bad: -bad.count)
        self.report.skipped.sort(key=lambda skipped: skipped.name)
        return self.report


def _kind_of(reason: str) -> str:
    """The reason without names of files and numbers: equal for reasons of one kind."""
    return re.sub(r"\S*[/\\.]\S*|'[^']*'|\d+", "_", reason)


def describe_skipped(skipped: Sequence[Skipped]) -> str:
    """Say how many were skipped, and why."""
    return f"{len(skipped)} skipped" + "".join(f"\n  {g}" for g in describe_groups(skipped))


def describe_groups(skipped: Sequence[Skipped]) -> list[str]:
    """Group what was skipped by reason: a line each, the most frequent first, with one example.

    Reasons that differ only in names of files and in numbers are one.
    """
    groups: dict[str, list[Skipped]] = {}
    for item in skipped:
        groups.setdefault(_kind_of(item.reason), []).append(item)
    ordered = sorted(groups.values(), key=len, reverse=True)
    lines = [f"{len(items)} x {items[0].name}: {items[0].reason}" for items in ordered[:SHOWN]]
    if len(ordered) > SHOWN:
        lines.append(f"... and {len(ordered) - SHOWN} more reasons")
    return lines


def describe_report(report: ConversionReport) -> str:
    """Write a report as text: a table of the classes, then what was lost, and why."""
    lines = [f"{'class':30} segments  images"]
    for name, count in report.segments.items():
        lines.append(f"{name:30} {count:8d} {report.images_with[name]:7d}")
    lines.append(
        f"{report.images_out} of {report.images_in} images, {100 * report.void_share:.1f} % void"
    )
    if report.parts:
        lines.append(", ".join(f"{part}: {n}" for part, n in sorted(report.parts.items())))
    for reason, classes in report.lost_annotations.items():
        counts = ", ".join(f"{name} {count}" for name, count in sorted(classes.items()))
        lines.append(f"annotations {reason}: {counts}")
    for bad in report.bad_annotations:
        lines.append(f"bad annotations skipped: {bad.count} x {bad.example}")
    if report.skipped:
        lines.append(f"{len(report.skipped)} skipped, all listed in conversion.json:")
        lines += [f"  {line}" for line in describe_groups(report.skipped)]
    return "\n".join(lines)
