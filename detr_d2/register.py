"""Registration of data sets with Detectron2's catalogs."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from detr_d2.data.categories import LABEL_DIVISOR, CategoryTable
from detr_d2.data.coco_panoptic import load_records, read_panoptic_json, spot_check

if TYPE_CHECKING:
    # Only named in annotations: converting is loaded when it is asked for.
    from detr_d2.conversion.convert import Split
    from detr_d2.conversion.formats import AnnotationFormat
    from detr_d2.conversion.rasterize import Rules

Path = str | os.PathLike[str]
Loader = Callable[[], list[dict[str, Any]]]
logger = logging.getLogger(__name__)

EVALUATOR_TYPE = "coco_panoptic_seg"


def register_dataset(
    name: str,
    *,
    image_root: Path | None = None,
    panoptic_root: Path | None = None,
    panoptic_json: Path | None = None,
    categories: Iterable[Mapping[str, Any]] | None = None,
    instances_json: Path | None = None,
    annotation_format: "str | AnnotationFormat | None" = None,
    rules: "Rules | None" = None,
    split: "Split | None" = None,
    part: str | None = None,
    cache: Path | None = None,
    workers: int = 1,
    records: str = "panoptic",
    **options: Any,
) -> None:
    """Register a data set under `name`; the records are loaded when asked for.

    Either a COCO-panoptic set, by `image_root`, `panoptic_root` and `panoptic_json`; or masks of
    any other annotation format, by `annotation_format` and its options, which are converted now,
    once, into the cache:

        register_dataset("nuts", annotation_format="labelme", folder="nuts")

    Args:
        name: the name to use in `DATASETS.TRAIN` and `DATASETS.TEST`.
        image_root: folder of the images, with subfolders if the JSON's file names have them.
        panoptic_root: folder of the id PNGs.
        panoptic_json: the JSON with images, annotations and categories.
        categories: the category entries (`id`, `name`, `isthing`, ...). When None they are read
            from `panoptic_json` now; give them to leave a large file unread until it is needed.
        instances_json: COCO instance annotations of the same images, for the box and mask
            evaluators that read one (`json_file` in the metadata); None when there are none.
        annotation_format: a name of `detr_d2.conversion.formats.FORMATS`, with its `options`, or
            a built format.
        rules, split, workers: see `detr_d2.conversion.convert.convert_set`.
        part: with `split` "train" or "val".
        cache: folder for what is converted or derived; None = `$DETR_D2_CACHE`, else
            `~/.cache/detr_d2`. A set is converted again when an argument or an input has changed.
        records: "panoptic" for this package's models; for Detectron2's own: "separated" (Panoptic
            FPN), "instances" (Mask R-CNN) or "semantic" (semantic segmentation).

    Registering the same name again is fine with the same content.

    Raises:
        ValueError: the name is taken by other content, a category entry or an argument is wrong, or
            no image could be converted.
        FileNotFoundError: a file or folder is absent.
    """
    if annotation_format is not None:
        from detr_d2.conversion.cache import convert_into_cache

        if (image_root, panoptic_root, panoptic_json, instances_json) != (None,) * 4:
            raise ValueError(
                f"{name}: give either an annotation format, or the files of a COCO-panoptic set"
            )
        paths = convert_into_cache(
            name, annotation_format, options, rules, split, part, cache, workers
        )
        image_root, panoptic_root, panoptic_json = paths
        categories = None
    elif options or rules is not None or split is not None:
        raise ValueError(f"{name}: {sorted(options) or 'rules, split'} need an annotation format")
    if image_root is None or panoptic_root is None or panoptic_json is None:
        raise ValueError(f"{name}: image_root, panoptic_root and panoptic_json are all needed")
    places = {
        "panoptic_json": os.fspath(panoptic_json),
        "image_root": os.fspath(image_root),
        "panoptic_root": os.fspath(panoptic_root),
    }
    if categories is None:
        categories = read_panoptic_json(panoptic_json)["categories"]
    table = CategoryTable(categories, places["panoptic_json"])
    load, metadata = _describe(name, records, places, table, cache)
    if instances_json is not None:
        metadata["json_file"] = os.fspath(instances_json)
    _register(name, load, metadata)


def _describe(
    name: str, records: str, places: Mapping[str, str], table: CategoryTable, cache: Path | None
) -> tuple[Loader, dict[str, Any]]:
    """The loader of one kind of records, and the metadata that go with it.

    Args:
        name, records, cache: see `register_dataset`.
        places: `panoptic_json`, `image_root` and `panoptic_root`, as `load_records` takes them.
        table: the categories.
    """
    if records == "panoptic":
        common = {**table.metadata(), **places, "evaluator_type": EVALUATOR_TYPE}
        return partial(_load, **places, table=table), common
    from detr_d2.conversion.cache import derive_into_cache
    from detr_d2.data.detectron2_records import EVALUATORS, load_as, metadata_as

    if records not in EVALUATORS:
        raise ValueError(f"records {records!r}, allowed: {['panoptic', *EVALUATORS]}")
    folder = derive_into_cache(name, **places, table=table, cache=cache)
    metadata = metadata_as(records, folder, table)
    if records == "separated":
        metadata |= {**places, "label_divisor": LABEL_DIVISOR}
    return partial(load_as, records, folder, **places, table=table), metadata


def _load(
    panoptic_json: str, image_root: str, panoptic_root: str, table: CategoryTable
) -> list[dict[str, Any]]:
    """`load_records`, and a look at a few PNGs."""
    records = load_records(panoptic_json, image_root, panoptic_root, table)
    for fault in spot_check(records):
        logger.warning("%s (tools/check_dataset.py checks and mends the whole set)", fault)
    return records


def _register(name: str, load: Loader, metadata: Mapping[str, Any]) -> None:
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
