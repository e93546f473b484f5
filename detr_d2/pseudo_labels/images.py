"""The images that are to be labelled, over all data sets, with their names in the result."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import read_panoptic_json
from detr_d2.utils.files import path_below


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
