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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detr_d2.conversion.formats.base import AnnotationFormat
from detr_d2.conversion.plan import (
    ClassMapping,
    complete_rules,
    conversion_fingerprint,
    map_classes,
    name_tasks,
)
from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.report import ConversionReport, Tally, describe_skipped
from detr_d2.conversion.splits import Split, check_split
from detr_d2.conversion.workers import ImageConverter, ImageTask, convert_images
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import write_panoptic_json
from detr_d2.data.image_io import check_image_mode
from detr_d2.utils.files import Journal, write_json
from detr_d2.utils.partial_folder import PartialFolder
from detr_d2.utils.progress import Progress

REPORT, DONE = "conversion.json", "done.jsonl"


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
        reasons = describe_skipped(annotation_format.skipped)
        raise ValueError(f"{annotation_format.name}: no {what} found; {reasons}")
    check_split([task.sample.name for task in tasks], split)
    partial = PartialFolder(folder, REPORT, scratch=(DONE,))
    target = None if dry_run else str(partial.path)
    classes = mapping.targets(annotation_format)
    converter = ImageConverter(
        annotation_format, classes, rules, mapping.background_id, target, images
    )
    tally = Tally(mapping.table(), annotation_format.skipped)
    conversion = _Conversion(converter, mapping, tasks, workers, tally, progress)
    if dry_run:
        conversion.run(tasks)
        return tally.finish(split)
    fingerprint = conversion_fingerprint(annotation_format, rules, split, base_categories, images)
    partial.prepare(fingerprint)
    report = conversion.run_and_write(partial.path, split)
    if not report.images_out:
        partial.discard()
        raise _failure(f"{os.fspath(folder)}.failed.json", annotation_format.name, report)
    content = {"fingerprint": fingerprint, "annotation_format": annotation_format.name}
    content |= asdict(report)
    write_json(partial.path / REPORT, content, indent=1)
    partial.finish()
    return report


@dataclass(frozen=True)
class _Conversion:
    """The images of one conversion, in work."""

    converter: ImageConverter
    mapping: ClassMapping
    tasks: Sequence[ImageTask]
    workers: int
    tally: Tally
    progress: Progress | None

    def run(self, tasks: Sequence[ImageTask], journal: Journal | None = None) -> None:
        """Convert images; count the results, and write them into a journal if there is one."""
        for result in convert_images(self.converter, tasks, self.workers):
            if journal is not None and "reason" not in result:
                journal.write(result)
            self.tally.add(result)
            if self.progress is not None:
                self.progress(self.tally.report.images_in, len(self.tasks))

    def run_and_write(self, folder: Path, split: Split | None) -> ConversionReport:
        """Convert the images that are not in the folder's journal yet, and write the JSONs."""
        with Journal(folder / DONE, "sample") as journal:
            for sample in journal:
                self.tally.add(journal.read(sample))
            self.run([t for t in self.tasks if t.sample.name not in journal], journal)
            report = self.tally.finish(split)
            _write_parts(folder, journal, self.tally.parts, self.mapping.table())
        write_json(folder / "classes.json", self.mapping.to_json(), indent=1)
        return report


def _failure(path: str, name: str, report: ConversionReport) -> ValueError:
    """Write the report of a conversion without result; the error to raise."""
    write_json(path, asdict(report), indent=1)
    return ValueError(
        f"{name}: no image could be converted (all reasons are in {path}); "
        f"{describe_skipped(report.skipped)}"
    )


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
