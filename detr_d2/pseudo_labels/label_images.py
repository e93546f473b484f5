"""Label image by image, in each process its share of them, over all data sets.

An image's PNG and copy are written first, then its line in the process's journal: what a journal
names is whole.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm

from detr_d2.conversion.formats.base import Skipped
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import read_panoptic_json
from detr_d2.data.coco_writer import describe_segments, write_id_png
from detr_d2.data.image_io import place_image
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.pseudo_labels.classes import LabelPlan
from detr_d2.pseudo_labels.labeller import Labeller
from detr_d2.pseudo_labels.merge import MergeRules, Predicted, merge_labels
from detr_d2.utils.files import Journal, path_below
from detr_d2.visualization import read_image


@dataclass(frozen=True)
class LabelTask:
    """One image: its set's name, its Detectron2 panoptic record, and its name in the result."""

    dataset: str
    record: Mapping[str, Any]
    name: str

    @property
    def png(self) -> str:
        """The name of its id PNG in the result."""
        return os.path.splitext(self.name)[0] + ".png"


def custom_categories(datasets: Sequence[str]) -> CategoryTable:
    """The classes that the sets share.

    Raises:
        ValueError: a set is not registered as COCO-panoptic, or their classes differ.
    """
    tables = []
    for name in datasets:
        if name not in DatasetCatalog.list():
            raise ValueError(f"data set {name!r} is not registered")
        tables.append(_table(name))
        if tables[-1] != tables[0]:
            raise ValueError(f"{name} has other classes than {datasets[0]}; label them one by one")
    return tables[0]


def _table(name: str) -> CategoryTable:
    path = MetadataCatalog.get(name).get("panoptic_json")
    if not path:
        raise ValueError(f"{name}: no COCO-panoptic set; register it with detr_d2.register_dataset")
    return CategoryTable(read_panoptic_json(path)["categories"], path)


def images_of(datasets: Sequence[str]) -> list[LabelTask]:
    """All images of the sets.

    Where two sets have images of the same name, each set's get a folder with the set's name.

    Raises:
        ValueError: two images of one set would have the same name in the result, or a file lies
            outside its set's folder.
    """
    found = [image for name in datasets for image in _images(name)]
    if len({image.png for image in found}) < len(found):
        found = [replace(image, name=f"{image.dataset}/{image.name}") for image in found]
    by_png: dict[str, LabelTask] = {}
    for image in found:
        other = by_png.setdefault(image.png, image)
        if other is not image:
            raise ValueError(
                f"{image.record['file_name']} and {other.record['file_name']} of {image.dataset} "
                "differ in their extension only; their labels would have the same name"
            )
    return found


def _images(dataset: str) -> Iterator[LabelTask]:
    root = MetadataCatalog.get(dataset).image_root
    for record in DatasetCatalog.get(dataset):
        name = os.path.relpath(record["file_name"], root)
        # The image gets this name in the result, where it must not leave the folder either.
        path_below(root, name)
        yield LabelTask(dataset, record, name)


def fingerprint_of(images: Sequence[LabelTask], settings: Any) -> str:
    """A hash of all that decides the result: settings, and size and time of every input file."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for image in images:
        for key in ("file_name", "pan_seg_file_name"):
            state = os.stat(image.record[key])
            line = f"{image.name}\0{state.st_size}\0{state.st_mtime_ns}\n"
            digest.update(line.encode())
        digest.update(json.dumps(image.record["segments_info"], default=str).encode())
    return digest.hexdigest()


JOURNALS = "done.*.jsonl"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Labelling:
    """The settings that all images share; `folder` has `images/` and `panoptic/`."""

    cfg: CfgNode
    folder: Path
    custom: CategoryTable
    plan: LabelPlan
    rules: MergeRules
    images: str


def label_images(
    labelling: Labelling, tasks: Sequence[LabelTask], batch: int, progress: Progress | None = None
) -> list[Skipped]:
    """Label this process's share of the images, but for those that a journal has.

    Returns:
        The images that could not be read.
    """
    # Batches are cut before they are dealt out: an image is predicted in the same company, and so
    # with the same result to the last bit, by any number of processes and after any interruption.
    batches = [tasks[i : i + batch] for i in range(0, len(tasks), batch)]
    mine = batches[comm.get_rank() :: comm.get_world_size()]
    with ExitStack() as stack:
        done = {name for journal in open_journals(labelling.folder, stack) for name in journal}
    # None writes before all have read.
    comm.synchronize()
    waiting = [b for b in mine if any(image.name not in done for image in b)]
    if not waiting:
        return []
    skipped: list[Skipped] = []
    total = sum(map(len, mine))
    count = total - sum(map(len, waiting))
    labeller = Labeller(labelling.cfg, labelling.plan, labelling.rules)
    own = labelling.folder / JOURNALS.replace("*", str(comm.get_rank()))
    with Journal(own, "name") as journal:
        for images in waiting:
            for result in _label_batch(labeller, labelling, images):
                if isinstance(result, Skipped):
                    skipped.append(result)
                else:
                    journal.write(result)
            count += len(images)
            if progress is not None:
                progress(count, total)
    return skipped


def open_journals(folder: Path, stack: ExitStack) -> list[Journal]:
    """The journals of all processes, of this run and of interrupted ones, open as the stack is."""
    return [stack.enter_context(Journal(path, "name")) for path in sorted(folder.glob(JOURNALS))]


def _label_batch(
    labeller: Labeller, labelling: Labelling, images: Sequence[LabelTask]
) -> list[dict[str, Any] | Skipped]:
    """Predict, merge and write; a line for the journal for each image, or why there is none."""
    results: list[dict[str, Any] | Skipped] = []
    readable: list[tuple[LabelTask, np.ndarray, np.ndarray]] = []
    for image in images:
        try:
            readable.append((image, *_read(image)))
        except (OSError, ValueError) as error:
            results.append(Skipped(image.name, str(error)))
    predictions = labeller([pixels for _, pixels, _ in readable]) if readable else []
    for (image, _, ids), predicted in zip(readable, predictions, strict=True):
        results.append(_write(labelling, image, ids, predicted))
    return results


def _read(image: LabelTask) -> tuple[np.ndarray, np.ndarray]:
    """The image (H, W, 3) and its custom segment ids (H, W).

    Raises:
        OSError: a file cannot be read.
        ValueError: the files disagree.
    """
    pixels, ids = read_image(image.record["file_name"]), read_ids(image.record["pan_seg_file_name"])
    if pixels.shape[:2] != ids.shape:
        raise ValueError(
            f"{image.record['file_name']} is {pixels.shape[1]}x{pixels.shape[0]} pixels, its masks "
            f"{image.record['pan_seg_file_name']} {ids.shape[1]}x{ids.shape[0]}"
        )
    unknown = set(np.unique(ids).tolist()) - {s["id"] for s in image.record["segments_info"]} - {0}
    if unknown:
        raise ValueError(
            f"{image.record['pan_seg_file_name']}: ids {sorted(unknown)} are not in the JSON; "
            "tools/check_dataset.py --fix repairs it"
        )
    return pixels, ids


def _write(
    labelling: Labelling, image: LabelTask, custom_ids: np.ndarray, predicted: Predicted
) -> dict[str, Any]:
    custom = [
        {**s, "category_id": labelling.custom.categories[s["category_id"]].id}
        for s in image.record["segments_info"]
    ]
    ids, segments = merge_labels(custom_ids, custom, predicted, labelling.rules)
    provenance = {s["id"]: s["provenance"] for s in segments}
    info = describe_segments(
        ids,
        {s["id"]: s["category_id"] for s in segments},
        [s["id"] for s in segments if s["iscrowd"]],
    )
    for segment in info:
        segment["provenance"] = provenance[segment["id"]]
    write_id_png(labelling.folder / "panoptic" / image.png, ids)
    target = labelling.folder / "images" / image.name
    place_image(image.record["file_name"], target, labelling.images)
    number, (height, width) = image.record["image_id"], ids.shape
    filled = sum(s["provenance"]["filled"] for s in info)
    masked, void = int((custom_ids != 0).sum()), int((ids == 0).sum())
    return {
        "name": image.name,
        "image": {"id": number, "file_name": image.name, "height": height, "width": width},
        "annotation": {"image_id": number, "file_name": image.png, "segments_info": info},
        "pixels": {
            "custom": masked,
            "model": height * width - masked - filled - void,
            "filled": filled,
            "void": void,
        },
    }
