"""The photos that are to be labelled, over all data sets, with their names in the result."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import read_panoptic_json


@dataclass(frozen=True)
class LabelTask:
    """One photo: its set's name, its Detectron2 panoptic record, and its name in the result."""

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


def photos_of(datasets: Sequence[str]) -> list[LabelTask]:
    """All photos of the sets.

    Where two sets have photos of the same name, each set's get a folder with the set's name.

    Raises:
        ValueError: two photos of one set would have the same name in the result.
    """
    found = [photo for name in datasets for photo in _photos(name)]
    if len({photo.png for photo in found}) < len(found):
        found = [replace(photo, name=f"{photo.dataset}/{photo.name}") for photo in found]
    by_png: dict[str, LabelTask] = {}
    for photo in found:
        other = by_png.setdefault(photo.png, photo)
        if other is not photo:
            raise ValueError(
                f"{photo.record['file_name']} and {other.record['file_name']} of {photo.dataset} "
                "differ in their extension only; their labels would have the same name"
            )
    return found


def _photos(dataset: str) -> Iterator[LabelTask]:
    root = MetadataCatalog.get(dataset).image_root
    for record in DatasetCatalog.get(dataset):
        yield LabelTask(dataset, record, os.path.relpath(record["file_name"], root))


def fingerprint_of(photos: Sequence[LabelTask], settings: Any) -> str:
    """A hash of all that decides the result: settings, and size and time of every input file."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for photo in photos:
        for key in ("file_name", "pan_seg_file_name"):
            state = os.stat(photo.record[key])
            line = f"{photo.name}\0{state.st_size}\0{state.st_mtime_ns}\n"
            digest.update(line.encode())
        digest.update(json.dumps(photo.record["segments_info"], default=str).encode())
    return digest.hexdigest()
