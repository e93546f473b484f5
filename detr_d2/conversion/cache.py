"""The cache of converted and derived sets: made once, and again when their inputs change."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iopath.common.file_io import file_lock

from detr_d2.conversion.convert import REPORT, convert_set
from detr_d2.conversion.formats import AnnotationFormat, open_format
from detr_d2.conversion.plan import complete_rules, conversion_fingerprint
from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.splits import Split
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import load_records
from detr_d2.data.detectron2_records import derive
from detr_d2.utils.files import write_text
from detr_d2.utils.progress import BYTES, progress_bar

logger = logging.getLogger(__name__)

VARIABLE, DEFAULT = "DETR_D2_CACHE", "~/.cache/detr_d2"
FINGERPRINT = "derived-from"
SKIPPED_SHOWN = 5


def cache_folder(cache: str | os.PathLike[str] | None) -> Path:
    """The folder to use: the one given, the environment's, or the default."""
    return Path(cache or os.environ.get(VARIABLE) or DEFAULT).expanduser()


def convert_into_cache(
    name: str,
    annotation_format: str | AnnotationFormat,
    options: Mapping[str, Any],
    rules: Rules | None,
    split: Split | None,
    part: str | None,
    cache: str | os.PathLike[str] | None,
    workers: int,
) -> tuple[str, str, str]:
    """Convert a set unless the cache has it.

    Returns:
        image_root, panoptic_root and panoptic_json.
    """
    if (part is None) != (split is None) or part not in (None, "train", "val"):
        raise ValueError(f"{name}: with split, part must be 'train' or 'val'; found {part!r}")
    with progress_bar(name, unit=BYTES) as reading:
        if isinstance(annotation_format, str):
            annotation_format = open_format(annotation_format, progress=reading, **options)
        elif options:
            raise ValueError(f"{name}: options {sorted(options)} need the annotation format's name")
        annotation_format.scan(reading)
    fingerprint = conversion_fingerprint(
        annotation_format, complete_rules(annotation_format, rules), split
    )
    # Named by what was asked, not by what was found: a new state replaces the old one.
    asked = json.dumps([annotation_format.name, str(annotation_format), str(rules), str(split)])
    key = hashlib.sha256(asked.encode()).hexdigest()[:16]
    folder = cache_folder(cache) / f"{annotation_format.name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The processes of one training register the same set at the same time.
    with file_lock(str(folder)):
        if _fingerprint_in(folder) != fingerprint:
            logger.info(
                "%s: converting %d images into %s", name, len(annotation_format.samples), folder
            )
            with progress_bar(name) as progress:
                report = convert_set(
                    annotation_format,
                    folder,
                    rules=rules,
                    split=split,
                    workers=workers,
                    progress=progress,
                )
            for item in report.skipped[:SKIPPED_SHOWN]:
                logger.warning("%s: skipped %s: %s", name, item.name, item.reason)
            if len(report.skipped) > SKIPPED_SHOWN:
                more = len(report.skipped) - SKIPPED_SHOWN
                logger.warning("%s: %d more skipped, see %s", name, more, folder / REPORT)
    json_name = f"panoptic_{part}.json" if part else "panoptic.json"
    return str(folder / "images"), str(folder / "panoptic"), str(folder / json_name)


def _fingerprint_in(folder: Path) -> str | None:
    path = folder / REPORT
    return json.loads(path.read_text(encoding="utf-8"))["fingerprint"] if path.is_file() else None


def derive_into_cache(
    name: str,
    panoptic_json: str,
    image_root: str,
    panoptic_root: str,
    table: CategoryTable,
    cache: str | os.PathLike[str] | None,
) -> str:
    """Derive instances and semantic masks from a COCO-panoptic set unless the cache has them.

    Returns:
        The folder that `detectron2_records.derive` has written.
    """
    place = [os.path.abspath(path) for path in (panoptic_json, image_root, panoptic_root)]
    key = hashlib.sha256(json.dumps([*place, table.to_json()]).encode()).hexdigest()[:16]
    folder = cache_folder(cache) / f"separated-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    states = [os.stat(path) for path in (panoptic_json, panoptic_root)]
    state = json.dumps([[s.st_size, s.st_mtime_ns] for s in states])
    note = folder / FINGERPRINT
    with file_lock(str(folder)):
        if not note.is_file() or note.read_text(encoding="utf-8") != state:
            logger.info("%s: deriving instances and semantic masks into %s", name, folder)
            records = load_records(panoptic_json, image_root, panoptic_root, table)
            with progress_bar(name) as progress:
                derive(records, table, folder, progress)
            write_text(note, state)
    return str(folder)
