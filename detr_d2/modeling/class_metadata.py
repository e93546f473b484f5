"""Number, names and kinds of the classes, from the config and the metadata of its data sets."""

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog


def classes_of(cfg: CfgNode) -> tuple[int, frozenset[int]]:
    """Number of classes, and contiguous ids of the things, from config and metadata.

    Raises:
        ValueError: NUM_CLASSES disagrees with the data set, or neither of them knows.
    """
    wanted = cfg.MODEL.DETR.NUM_CLASSES
    for name in [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]:
        meta = MetadataCatalog.get(name)
        things = set(meta.get("thing_dataset_id_to_contiguous_id", {}).values())
        stuff = set(meta.get("stuff_dataset_id_to_contiguous_id", {}).values())
        known = len(things | stuff)
        if not known:
            continue
        if wanted not in (0, known):
            raise ValueError(
                f"MODEL.DETR.NUM_CLASSES is {wanted}, but data set {name!r} has {known} classes "
                f"({len(things)} things, {len(stuff - things)} stuff); set it to {known} or to 0"
            )
        return known, frozenset(things)
    if wanted:
        return wanted, frozenset(range(wanted))
    raise ValueError(
        "the number of classes is unknown: register the data sets of DATASETS.TRAIN or "
        f"DATASETS.TEST {(*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)} first, or set "
        "MODEL.DETR.NUM_CLASSES (always for a set of register_coco_instances, which knows its "
        "classes only after loading)"
    )


def check_thing_ids(thing_ids: frozenset[int], num_classes: int) -> None:
    """Reject thing classes beyond the last class.

    Raises:
        ValueError: naming them.
    """
    if not thing_ids <= set(range(num_classes)):
        raise ValueError(f"thing classes {sorted(thing_ids)}: allowed are 0 to {num_classes - 1}")


def class_names_of(cfg: CfgNode, count: int) -> tuple[str, ...]:
    """Names of the classes in contiguous order, from the first data set that has that many."""
    for name in [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]:
        meta = MetadataCatalog.get(name)
        for key in ("stuff_classes", "thing_classes"):
            names = meta.get(key, ())
            if len(names) == count:
                return tuple(names)
    return ()
