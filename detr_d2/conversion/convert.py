"""Convert a whole set to COCO-panoptic, into a folder that is complete at every moment.

    FOLDER/
      images/  panoptic/          images and id PNGs, the same names but for the extension
      panoptic.json               or panoptic_train.json and panoptic_val.json
      classes.json                name and id in the result of the source's classes
      conversion.json             the report

Files are written to FOLDER.partial beside it, with a line of `done.jsonl` for every image. Only at
the end do the folders change places. A conversion that was stopped continues where it was, if
neither its arguments nor its inputs have changed.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from detr_d2.conversion.formats.base import AnnotationFormat, Skipped
from detr_d2.conversion.plan import (
    complete_rules,
    conversion_fingerprint,
    map_classes,
    name_tasks,
)
from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.splits import Split, split_images
from detr_d2.conversion.workers import ImageConverter, convert_images
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import write_panoptic_json
from detr_d2.data.image_io import check_image_mode
from detr_d2.utils.files import Journal, write_json
from detr_d2.utils.partial_folder import PartialFolder

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


def _reasons(skipped: Sequence[Skipped]) -> str:
    """Say how many were skipped, by reason, each with one example."""
    return f"{len(skipped)} skipped" + "".join(f"\n  {g}" for g in describe_groups(skipped))


def _kind_of(reason: str) -> str:
    """The reason without names of files and numbers: equal for reasons of one kind."""
    return re.sub(r"\S*[/\\.]\S*|'[^']*'|\d+", "_", reason)


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


__all__ = ["ConversionReport", "Split", "convert_set"]

REPORT, DONE = "conversion.json", "done.jsonl"
Progress = Callable[[int, int], None]


def convert_set(
    annotation_format: AnnotationFormat,
    folder: str | os.PathLike[str],
    *,
    rules: Rules | None = None,
    split: Split | None = None,
    base_categories: Sequence[Mapping[str, Any]] = (),
    images: str = "link",
    workers: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """Convert a set.

    Args:
        annotation_format: the source.
        folder: where the result goes. An earlier conversion there is replaced.
        rules: how annotations become segments.
        split: write a part for training and one for validation.
        base_categories: another list of classes (COCO's, say) that the result should have too;
            classes that clash with it get new ids and names.
        images: "link" or "copy" the images.
        workers: processes; 1 = this one.
        dry_run: read and count everything, write nothing.
        progress: called with (images done, images in all).

    Returns:
        The report, as written to `conversion.json`.

    Raises:
        ValueError: an argument is wrong, or no image could be converted; then the report is in
            FOLDER.failed.json.
        FileExistsError: the folder holds files that no conversion has written.
        OSError: the result cannot be written; the earlier result stays.
    """
    check_image_mode(images)
    rules = complete_rules(annotation_format, rules)
    annotation_format.scan()
    mapping = map_classes(annotation_format, rules, base_categories)
    tasks = name_tasks(annotation_format.samples)
    if not tasks or not mapping.entries:
        what = "annotation with a class" if tasks else "image with annotation"
        reasons = _reasons(annotation_format.skipped)
        raise ValueError(f"{annotation_format.name}: no {what} found; {reasons}")
    tally = Tally(mapping.table(), annotation_format.skipped)
    partial = PartialFolder(folder, REPORT, scratch=(DONE,))
    target = None if dry_run else str(partial.path)
    classes = mapping.targets(annotation_format)
    converter = ImageConverter(
        annotation_format, classes, rules, mapping.background_id, target, images
    )

    def count(result: Mapping[str, Any]) -> None:
        tally.add(result)
        if progress is not None:
            progress(tally.report.images_in, len(tasks))

    if dry_run:
        for result in convert_images(converter, tasks, workers):
            count(result)
        return tally.finish(split)
    fingerprint = conversion_fingerprint(annotation_format, rules, split, base_categories, images)
    partial.prepare(fingerprint)
    with Journal(partial.path / DONE, "sample") as journal:
        for sample in journal:
            tally.add(journal.read(sample))
        waiting = [task for task in tasks if task.sample.name not in journal]
        for result in convert_images(converter, waiting, workers):
            if "reason" not in result:
                journal.write(result)
            count(result)
        report = tally.finish(split)
        _write_parts(partial.path, journal, tally.parts, mapping.table())
    if not report.images_out:
        partial.discard()
        failed = f"{os.fspath(folder)}.failed.json"
        write_json(failed, asdict(report), indent=1)
        raise ValueError(
            f"{annotation_format.name}: no image could be converted (all reasons are in {failed}); "
            f"{_reasons(report.skipped)}"
        )
    write_json(partial.path / "classes.json", mapping.to_json(), indent=1)
    content = {"fingerprint": fingerprint, "annotation_format": annotation_format.name}
    content |= asdict(report)
    write_json(partial.path / REPORT, content, indent=1)
    partial.finish()
    return report


def _write_parts(
    folder: Path, journal: Journal, parts: Mapping[str, str], table: CategoryTable
) -> None:
    """Write one panoptic JSON per part; entries go from file to file, never all in memory."""
    for part in sorted(set(parts.values())):
        chosen = sorted(sample for sample in parts if parts[sample] == part)
        write_panoptic_json(
            folder / (f"panoptic_{part}.json" if part else "panoptic.json"),
            images=(journal.read(sample)["image"] for sample in chosen),
            annotations=(journal.read(sample)["annotation"] for sample in chosen),
            categories=table,
            description=f"converted by detr_d2 {part}".strip(),
        )
