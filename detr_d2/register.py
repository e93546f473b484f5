"""Register data sets with Detectron2's catalogs: COCO-panoptic files, or masks of other formats."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from detr_d2.data.categories import LABEL_DIVISOR, CategoryTable
from detr_d2.data.coco_panoptic import load_records, read_panoptic_json, spot_check

if TYPE_CHECKING:
    # Only named in annotations: the converters are loaded when they are needed.
    from detr_d2.conversion.formats import AnnotationFormat
    from detr_d2.conversion.rasterize import Rules
    from detr_d2.conversion.splits import Split

Path = str | os.PathLike[str]
Loader = Callable[[], list[dict[str, Any]]]
logger = logging.getLogger(__name__)

EVALUATOR_TYPE = "coco_panoptic_seg"


def register_dataset(
    name: str,
    *,
    image_root: Path,
    panoptic_root: Path,
    panoptic_json: Path,
    categories: Iterable[Mapping[str, Any]] | None = None,
    instances_json: Path | None = None,
    records: str = "panoptic",
    cache: Path | None = None,
) -> None:
    """Register COCO-panoptic files under `name`; the records are loaded when they are needed.

    For masks of any other annotation format see `register_masks`. Registering the same name with
    the same content again is allowed.

    Args:
        name: the name to use in `DATASETS.TRAIN` and `DATASETS.TEST`.
        image_root: folder of the images, with subfolders if the JSON's file names have them.
        panoptic_root: folder of the id PNGs.
        panoptic_json: the JSON with images, annotations and categories.
        categories: the category entries (`id`, `name`, `isthing`, ...). When None they are read
            from `panoptic_json` now; give them to leave a large file unread until it is needed.
        instances_json: COCO instance annotations of the same images, for the box and mask
            evaluators that read one (`json_file` in the metadata); None when there are none.
        records: "panoptic" for this package's models; for others': "with_sem_seg" (Mask2Former
            and its evaluators), "separated" (Panoptic FPN), "instances" (Mask R-CNN) or "semantic"
            (semantic segmentation).
        cache: folder for derived files of the other `records`; None = `$DETR_D2_CACHE`, else
            `~/.cache/detr_d2`.

    Raises:
        ValueError: the name is taken by other content, or a category entry or an argument is wrong.
        FileNotFoundError: a file or folder is absent.
    """
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


def register_masks(
    name: str,
    annotation_format: "str | AnnotationFormat",
    *,
    rules: "Rules | None" = None,
    split: "Split | None" = None,
    part: str | None = None,
    records: str = "panoptic",
    cache: Path | None = None,
    workers: int = 1,
    **options: Any,
) -> None:
    """Convert masks of any annotation format into the cache, once, and register the result.

        register_masks("nuts", "labelme", folder="nuts")

    A set is converted again when an argument or an input file has changed.

    Args:
        name: the name to use in `DATASETS.TRAIN` and `DATASETS.TEST`.
        annotation_format: a name of `detr_d2.conversion.formats.FORMATS`, or an instance of its
            class.
        rules, split, workers: see `detr_d2.conversion.convert.convert_set`.
        part: with `split`, the part to register: "train" or "val".
        records: see `register_dataset`.
        cache: folder for the result; None = `$DETR_D2_CACHE`, else `~/.cache/detr_d2`.
        options: the fields of the format's class (`images`, `masks`, ...).

    Raises:
        ValueError: the name is taken by other content, an argument is wrong, or no image could be
            converted.
        FileNotFoundError: a file or folder is absent.
    """
    from detr_d2.conversion.cache import convert_into_cache

    image_root, panoptic_root, panoptic_json = convert_into_cache(
        name, annotation_format, options, rules, split, part, cache, workers
    )
    register_dataset(
        name,
        image_root=image_root,
        panoptic_root=panoptic_root,
        panoptic_json=panoptic_json,
        records=records,
        cache=cache,
    )


def _describe(
    name: str, records: str, places: Mapping[str, str], table: CategoryTable, cache: Path | None
) -> tuple[Loader, dict[str, Any]]:
    """Make the loader of one kind of records, and the metadata that go with it.

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
    if records in ("with_sem_seg", "separated"):
        metadata |= {**places, "label_divisor": LABEL_DIVISOR}
    return partial(load_as, records, folder, **places, table=table), metadata


def _load(
    panoptic_json: str, image_root: str, panoptic_root: str, table: CategoryTable
) -> list[dict[str, Any]]:
    """Load the records, and compare a few PNGs with them."""
    records = load_records(panoptic_json, image_root, panoptic_root, table)
    for fault in spot_check(records):
        logger.warning("%s (tools/check_dataset.py checks and fixes the whole set)", fault)
    return records


def _register(name: str, load: Loader, metadata: Mapping[str, Any]) -> None:
    """Put a loader and its metadata into the catalogs, or check that they are there already."""
    registered = name in DatasetCatalog.list()
    known = MetadataCatalog.get(name).as_dict()
    # Compared here since Detectron2 would stop at the first changed value, with an assertion
    # about that value alone. Further keys are allowed: evaluators add some of their own.
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
