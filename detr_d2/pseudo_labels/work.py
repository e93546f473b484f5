"""Labelling photo by photo, in each process its share of them.

A photo's PNG and copy are written first, then its line in the process's journal: what a journal
names is whole.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.utils import comm

from detr_d2.conversion.formats.base import LeftOut
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import describe_segments, write_id_png
from detr_d2.data.image_files import place_photo
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.pseudo_labels.classes import ClassPlan
from detr_d2.pseudo_labels.images import Photo
from detr_d2.pseudo_labels.labeller import Labeller
from detr_d2.pseudo_labels.merge import MergeRules, Predicted, merge_labels
from detr_d2.utils.journal import Journal
from detr_d2.visualization import read_photo

JOURNALS = "done.*.jsonl"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Work:
    """What is the same for all photos; `folder` has `images/` and `panoptic/`."""

    cfg: CfgNode
    folder: Path
    custom: CategoryTable
    plan: ClassPlan
    rules: MergeRules
    photos: str


def label_photos(
    work: Work, tasks: Sequence[LabelTask], batch: int, progress: Progress | None = None
) -> list[LeftOut]:
    """Label this process's share of the photos, but for those that a journal has.

    Returns:
        The photos that could not be read.
    """
    # Batches are cut before they are dealt out: a photo is predicted in the same company, and so
    # with the same result to the last bit, by any number of processes and after any interruption.
    batches = [tasks[i : i + batch] for i in range(0, len(tasks), batch)]
    mine = batches[comm.get_rank() :: comm.get_world_size()]
    with ExitStack() as stack:
        done = {name for journal in open_journals(work.folder, stack) for name in journal}
    # None writes before all have read.
    comm.synchronize()
    waiting = [b for b in mine if any(photo.name not in done for photo in b)]
    if not waiting:
        return []
    left_out: list[LeftOut] = []
    total = sum(map(len, mine))
    count = total - sum(map(len, waiting))
    labeller = Labeller(work.cfg, work.plan, work.rules)
    own = work.folder / JOURNALS.replace("*", str(comm.get_rank()))
    with Journal(own, "name") as journal:
        for photos in waiting:
            for result in _label_batch(labeller, work, photos):
                if isinstance(result, LeftOut):
                    left_out.append(result)
                else:
                    journal.write(result)
            count += len(photos)
            if progress is not None:
                progress(count, total)
    return left_out


def open_journals(folder: Path, stack: ExitStack) -> list[Journal]:
    """The journals of all processes, of this run and of interrupted ones, open as the stack is."""
    return [stack.enter_context(Journal(path, "name")) for path in sorted(folder.glob(JOURNALS))]


def _label_batch(
    labeller: Labeller, work: Work, photos: Sequence[LabelTask]
) -> list[dict[str, Any] | LeftOut]:
    """Predict, merge and write; a line for the journal for each photo, or why there is none."""
    results: list[dict[str, Any] | LeftOut] = []
    readable: list[tuple[LabelTask, np.ndarray, np.ndarray]] = []
    for photo in photos:
        try:
            readable.append((photo, *_read(photo)))
        except (OSError, ValueError) as error:
            results.append(LeftOut(photo.name, str(error)))
    predictions = labeller([pixels for _, pixels, _ in readable]) if readable else []
    for (photo, _, ids), predicted in zip(readable, predictions, strict=True):
        results.append(_write(work, photo, ids, predicted))
    return results


def _read(photo: LabelTask) -> tuple[np.ndarray, np.ndarray]:
    """The photo (H, W, 3) and its custom segment ids (H, W).

    Raises:
        OSError: a file cannot be read.
        ValueError: the files disagree.
    """
    pixels, ids = read_photo(photo.record["file_name"]), read_ids(photo.record["pan_seg_file_name"])
    if pixels.shape[:2] != ids.shape:
        raise ValueError(
            f"{photo.record['file_name']} is {pixels.shape[1]}x{pixels.shape[0]} pixels, its masks "
            f"{photo.record['pan_seg_file_name']} {ids.shape[1]}x{ids.shape[0]}"
        )
    unknown = set(np.unique(ids).tolist()) - {s["id"] for s in photo.record["segments_info"]} - {0}
    if unknown:
        raise ValueError(
            f"{photo.record['pan_seg_file_name']}: ids {sorted(unknown)} are not in the JSON; "
            "tools/check_dataset.py --fix mends it"
        )
    return pixels, ids


def _write(
    work: Work, photo: LabelTask, custom_ids: np.ndarray, predicted: Predicted
) -> dict[str, Any]:
    custom = [
        {**s, "category_id": work.custom.categories[s["category_id"]].id}
        for s in photo.record["segments_info"]
    ]
    ids, segments = merge_labels(custom_ids, custom, predicted, work.rules)
    provenance = {s["id"]: s["provenance"] for s in segments}
    info = describe_segments(
        ids,
        {s["id"]: s["category_id"] for s in segments},
        [s["id"] for s in segments if s["iscrowd"]],
    )
    for segment in info:
        segment["provenance"] = provenance[segment["id"]]
    write_id_png(work.folder / "panoptic" / photo.png, ids)
    place_photo(photo.record["file_name"], work.folder / "images" / photo.name, work.photos)
    number, (height, width) = photo.record["image_id"], ids.shape
    filled = sum(s["provenance"]["filled"] for s in info)
    by_hand, void = int((custom_ids != 0).sum()), int((ids == 0).sum())
    return {
        "name": photo.name,
        "image": {"id": number, "file_name": photo.name, "height": height, "width": width},
        "annotation": {"image_id": number, "file_name": photo.png, "segments_info": info},
        "pixels": {
            "custom": by_hand,
            "model": height * width - by_hand - filled - void,
            "filled": filled,
            "void": void,
        },
    }
