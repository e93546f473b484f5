"""Records for other models than ours: instances and semantic masks derived from panoptic files.

FOLDER/instances.json     COCO instances of the things, outlines exact to the pixel
FOLDER/stuff/*.png        0 = some thing, 1.. = stuff, 255 = void (Panoptic FPN's convention)
FOLDER/semantic/*.png     contiguous ids of all classes, 255 = void
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from PIL import Image

from detr_d2.data.categories import IGNORE_LABEL, CategoryTable
from detr_d2.data.coco_panoptic import load_records
from detr_d2.ops.coco_instances import coco_instances
from detr_d2.ops.panoptic_ids import compact, read_ids
from detr_d2.utils.files import read_json, replacing, write_json
from detr_d2.utils.progress import Progress

INSTANCES, STUFF, SEMANTIC = "instances.json", "stuff", "semantic"
# What a set may be registered as, and which evaluators of Detectron2's tools go with it.
EVALUATORS = {
    "with_sem_seg": "coco_panoptic_seg",
    "separated": "coco_panoptic_seg",
    "instances": "coco",
    "semantic": "sem_seg",
}
Record = dict[str, Any]


def derive(
    records: list[Record],
    table: CategoryTable,
    folder: str | os.PathLike[str],
    progress: Progress | None = None,
) -> None:
    """Write instances and semantic masks of panoptic records; `instances.json` comes last.

    Args:
        records, table: of the set.
        folder: to write to.
        progress: called with the number of records done, and of all.

    Raises:
        ValueError: more classes than a semantic mask can hold.
    """
    if len(table) >= IGNORE_LABEL:
        raise ValueError(f"{len(table)} classes; semantic masks hold {IGNORE_LABEL - 1} at most")
    target = Path(folder)
    things = [c.isthing for c in table.categories]
    thing_ids = {index: c.id for index, c in enumerate(table.categories) if c.isthing}
    stuff_labels = _stuff_labels(things)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, record in enumerate(records, start=1):
        ids = read_ids(record["pan_seg_file_name"])
        present, positions = compact(ids)
        column = {segment_id: place for place, segment_id in enumerate(present)}
        labels = np.full((2, len(present)), IGNORE_LABEL, np.uint8)
        height, width = ids.shape
        name = os.path.basename(record["file_name"])
        images.append({"id": record["image_id"], "file_name": name})
        images[-1] |= {"height": height, "width": width}
        for segment in record["segments_info"]:
            if segment["id"] in column:
                category = segment["category_id"]
                labels[:, column[segment["id"]]] = stuff_labels[category], category
        for entry in coco_instances(ids, record["segments_info"], thing_ids, polygons=True):
            place = {"id": len(annotations) + 1, "image_id": record["image_id"]}
            annotations.append({**place, **entry})
        for kind, row in ((STUFF, labels[0]), (SEMANTIC, labels[1])):
            with replacing(semantic_path(target, kind, record)) as temporary:
                Image.fromarray(row[positions]).save(temporary)
        if progress is not None:
            progress(number, len(records))
    categories = [{"id": c.id, "name": c.name} for c in table.categories if c.isthing]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(target / INSTANCES, {"info": {}, **content})


def semantic_path(folder: Path, kind: str, record: Mapping[str, Any]) -> Path:
    """Where the semantic mask of a record is; base names are unique in a set."""
    stem = os.path.splitext(os.path.basename(record["file_name"]))[0]
    return folder / kind / f"{stem}.png"


def load_as(
    kind: str,
    folder: str,
    panoptic_json: str,
    image_root: str,
    panoptic_root: str,
    table: CategoryTable,
) -> list[Record]:
    """Records with `annotations`, `sem_seg_file_name`, or both, beside what panoptic ones have.

    Args:
        kind: "with_sem_seg" (panoptic, and all classes as semantic masks), "separated" (things as
            instances, stuff as semantic masks), "instances" or "semantic" (all classes).
        folder: where `derive` has written.
        panoptic_json, image_root, panoptic_root, table: as in `load_records`.
    """
    records = load_records(panoptic_json, image_root, panoptic_root, table)
    thing_ids = {c.id: i for i, c in enumerate(c for c in table.categories if c.isthing)}
    # Ids in `thing_classes` and in `stuff_classes` of `metadata_as`, by common contiguous id.
    things = [c.isthing for c in table.categories]
    labels = _stuff_labels(things)
    separated = [i if isthing else labels[i] for i, isthing in enumerate(things)]
    by_image: dict[Any, list[dict[str, Any]]] = {}
    has_instances = kind in ("separated", "instances")
    if has_instances:
        for entry in read_json(os.path.join(folder, INSTANCES))["annotations"]:
            entry["bbox_mode"] = BoxMode.XYWH_ABS
            entry["category_id"] = thing_ids[entry["category_id"]]
            by_image.setdefault(entry["image_id"], []).append(entry)
    for record in records:
        if has_instances:
            record["annotations"] = by_image.get(record["image_id"], [])
        if kind != "instances":
            masks = STUFF if kind == "separated" else SEMANTIC
            record["sem_seg_file_name"] = str(semantic_path(Path(folder), masks, record))
        if kind == "separated":
            for segment in record["segments_info"]:
                segment["category_id"] = separated[segment["category_id"]]
        elif kind != "with_sem_seg":
            # Models for panoptic ground truth would use these.
            del record["segments_info"], record["pan_seg_file_name"]
    return records


def metadata_as(kind: str, folder: str, table: CategoryTable) -> dict[str, Any]:
    """The metadata that goes with `load_as`, in place of the panoptic set's."""
    things = [c for c in table.categories if c.isthing]
    stuff = [c for c in table.categories if not c.isthing]
    common = {
        "thing_classes": [c.name for c in things],
        "thing_colors": [list(c.color) for c in things],
        "thing_dataset_id_to_contiguous_id": {c.id: i for i, c in enumerate(things)},
        "evaluator_type": EVALUATORS[kind],
        "ignore_label": IGNORE_LABEL,
    }
    if kind == "instances":
        return common | {"json_file": os.path.join(folder, INSTANCES)}
    everything = {
        "stuff_classes": [c.name for c in table.categories],
        "stuff_colors": [list(c.color) for c in table.categories],
        "stuff_dataset_id_to_contiguous_id": dict(table.contiguous_ids),
    }
    if kind == "semantic":
        return everything | {"evaluator_type": EVALUATORS[kind], "ignore_label": IGNORE_LABEL}
    if kind == "with_sem_seg":
        # Things are the first of all classes, so that both lists count them alike.
        return common | everything | {"json_file": os.path.join(folder, INSTANCES)}
    ids = {c.id for c in table.categories}
    # Label 0 stands for all things together; it needs an id that no class has.
    nothing = 0 if 0 not in ids else max(ids) + 1
    return common | {
        "json_file": os.path.join(folder, INSTANCES),
        "stuff_classes": ["things", *(c.name for c in stuff)],
        "stuff_colors": [[82, 18, 128], *(list(c.color) for c in stuff)],
        "stuff_dataset_id_to_contiguous_id": {
            nothing: 0,
            **{c.id: i for i, c in enumerate(stuff, start=1)},
        },
    }


def _stuff_labels(things: list[bool]) -> list[int]:
    labels, count = [], 0
    for isthing in things:
        count += not isthing
        labels.append(0 if isthing else count)
    return labels
