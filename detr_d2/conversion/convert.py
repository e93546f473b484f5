"""Convert a whole set to COCO-panoptic, into a folder that is whole at every moment.

    FOLDER/
      images/  panoptic/          images and id PNGs, the same names but for the extension
      panoptic.json               or panoptic_train.json and panoptic_val.json
      classes.json                how the source's classes are called and numbered in the result
      conversion.json             the report

Work goes on in FOLDER.partial beside it, where a line of `done.jsonl` is written for every image.
Only when all is done the folders change places. A conversion that was stopped goes on where it was,
if neither its arguments nor its inputs have changed.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detr_d2.conversion.convert_image import Work
from detr_d2.conversion.formats.base import AnnotationFormat
from detr_d2.conversion.plan import (
    conversion_fingerprint,
    name_tasks,
    settle_classes,
    settle_rules,
)
from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.report import Report, Tally
from detr_d2.conversion.splits import Split
from detr_d2.conversion.workers import convert_images
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import write_panoptic_json
from detr_d2.data.image_files import check_image_mode
from detr_d2.utils.files import write_json
from detr_d2.utils.journal import Journal
from detr_d2.utils.partial_folder import PartialFolder

__all__ = ["Report", "Split", "convert_set"]

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
) -> Report:
    """Convert a set.

    Args:
        annotation format: what to read.
        folder: where the result goes. What was there is replaced if an earlier conversion has
            written it.
        rules: how layers become segments.
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
        ValueError: an argument is wrong, or no image could be converted.
        FileExistsError: the folder holds something that no conversion has written.
        OSError: the result cannot be written; the earlier result is whole.
    """
    check_image_mode(images)
    rules = settle_rules(annotation_format, rules)
    plan = settle_classes(annotation_format, rules, base_categories)
    tasks = name_tasks(annotation_format.samples())
    tally = Tally(plan.table(), annotation_format.skipped)
    if not tasks:
        raise ValueError(
            f"{annotation_format.name}: no image with annotation found; {tally.reasons()}"
        )
    partial = PartialFolder(folder, REPORT, scratch=(DONE,))
    place = None if dry_run else str(partial.path)
    work = Work(
        annotation_format, plan.kinds(annotation_format), rules, plan.rest_id, place, images
    )

    def count(result: Mapping[str, Any]) -> None:
        tally.add(result)
        if progress is not None:
            progress(tally.report.images_in, len(tasks))

    if dry_run:
        for result in convert_images(work, tasks, workers):
            count(result)
        return tally.finish(split)
    fingerprint = conversion_fingerprint(annotation_format, rules, split, base_categories, images)
    partial.prepare(fingerprint)
    with Journal(partial.path / DONE, "sample") as journal:
        for sample in journal:
            tally.add(journal.read(sample))
        waiting = [task for task in tasks if task[0].name not in journal]
        for result in convert_images(work, waiting, workers):
            if "reason" not in result:
                journal.write(result)
            count(result)
        report = tally.finish(split)
        _write_parts(partial.path, journal, tally.parts, plan.table())
    if not report.images_out:
        partial.discard()
        raise ValueError(
            f"{annotation_format.name}: no image could be converted; {tally.reasons()}"
        )
    write_json(partial.path / "classes.json", plan.mapping(), indent=1)
    content = {
        "fingerprint": fingerprint,
        "annotation_format": annotation_format.name,
        **asdict(report),
    }
    write_json(partial.path / REPORT, content, indent=1)
    partial.finish()
    return report


def _write_parts(
    folder: Path, journal: Journal, parts: Mapping[str, str], table: CategoryTable
) -> None:
    """Write one panoptic JSON a part; entries go from file to file, never all in memory."""
    for part in sorted(set(parts.values())):
        chosen = sorted(sample for sample in parts if parts[sample] == part)
        write_panoptic_json(
            folder / (f"panoptic_{part}.json" if part else "panoptic.json"),
            images=(journal.read(sample)["image"] for sample in chosen),
            annotations=(journal.read(sample)["annotation"] for sample in chosen),
            categories=table,
            description=f"converted by detr_d2 {part}".strip(),
        )
