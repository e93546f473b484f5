"""Registration of data sets with Detectron2's catalogs."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import load_records, read_panoptic_json

EVALUATOR_TYPE = "coco_panoptic_seg"


def register_dataset(
    name: str,
    *,
    image_root: str | os.PathLike[str],
    panoptic_root: str | os.PathLike[str],
    panoptic_json: str | os.PathLike[str],
    categories: Iterable[Mapping[str, Any]] | None = None,
    instances_json: str | os.PathLike[str] | None = None,
) -> None:
    """Register a COCO-panoptic data set under `name`; the records are loaded when asked for.

    Args:
        name: the name to use in `DATASETS.TRAIN` and `DATASETS.TEST`.
        image_root: folder of the photos, with subfolders if the JSON's file names have them.
        panoptic_root: folder of the id PNGs.
        panoptic_json: the JSON with images, annotations and categories.
        categories: the category entries (`id`, `name`, `isthing`, ...). When None they are read
            from `panoptic_json` now; give them to leave a large file unread until it is needed.
        instances_json: COCO instance annotations of the same photos, for the box and mask
            evaluators that read one (`json_file` in the metadata); None when there are none.

    Registering the same name again is fine with the same content.

    Raises:
        ValueError: the name is taken by other content, or a category entry is wrong.
        FileNotFoundError: `panoptic_json` is absent and no `categories` are given.
    """
    json_path = os.fspath(panoptic_json)
    if categories is None:
        categories = read_panoptic_json(json_path)["categories"]
    table = CategoryTable(categories, json_path)
    metadata: dict[str, Any] = {
        **table.metadata(),
        "image_root": os.fspath(image_root),
        "panoptic_root": os.fspath(panoptic_root),
        "panoptic_json": json_path,
        "evaluator_type": EVALUATOR_TYPE,
    }
    if instances_json is not None:
        metadata["json_file"] = os.fspath(instances_json)
    load = partial(load_records, json_path, os.fspath(image_root), os.fspath(panoptic_root), table)
    _register(name, load, metadata)


def _register(
    name: str, load: Callable[[], list[dict[str, Any]]], metadata: Mapping[str, Any]
) -> None:
    """Enter a loader and its metadata into the catalogs, or check that they are there already."""
    registered = name in DatasetCatalog.list()
    known = MetadataCatalog.get(name).as_dict()
    # Compared here since Detectron2 would stop at the first changed value, with an assertion
    # about that value alone. Further keys are no matter: evaluators add some of their own.
    differing = {
        key: (known.get(key), value)
        for key, value in metadata.items()
        if (registered or key in known) and known.get(key) != value
    }
    if differing:
        found = "; ".join(f"{key}: {old!r} -> {new!r}" for key, (old, new) in differing.items())
        raise ValueError(
            f"data set {name!r} is registered already, with other content ({found}); use another "
            f"name, or call DatasetCatalog.remove and MetadataCatalog.remove first"
        )
    if not registered:
        DatasetCatalog.register(name, load)
        MetadataCatalog.get(name).set(**metadata)
