"""Number, names and kinds of the classes, from the config and the metadata of its data sets."""

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog


def classes_of(cfg: CfgNode) -> tuple[int, frozenset[int]]:
    """Number of classes, and contiguous ids of the things, from config and metadata.

    Raises:
        ValueError: NUM_CLASSES or THING_IDS disagrees with the data set, neither of them knows, or
            the set counts things and stuff apart.
    """
    wanted, wanted_things = cfg.MODEL.DETR.NUM_CLASSES, cfg.MODEL.DETR.THING_IDS
    for name in [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]:
        meta = MetadataCatalog.get(name)
        thing_ids = meta.get("thing_dataset_id_to_contiguous_id", {})
        stuff_ids = meta.get("stuff_dataset_id_to_contiguous_id", {})
        things = set(thing_ids.values())
        # Some sets list the things among the stuff too, under the same ids.
        stuff = {index for key, index in stuff_ids.items() if key not in thing_ids}
        if things & stuff:
            raise ValueError(
                f"data set {name!r} counts things and stuff apart, each from 0; this model needs "
                "one list of all classes: register the set with records='panoptic'"
            )
        known = len(things | stuff)
        if not known:
            continue
        if wanted not in (0, known):
            raise ValueError(
                f"MODEL.DETR.NUM_CLASSES is {wanted}, but data set {name!r} has {known} classes "
                f"({len(things)} things, {len(stuff - things)} stuff); set it to {known} or to 0"
            )
        if wanted_things is not None and set(wanted_things) != things:
            raise ValueError(
                f"MODEL.DETR.THING_IDS is {list(wanted_things)}, but the things of data set "
                f"{name!r} are {sorted(things)}; set it to that or to None"
            )
        return known, frozenset(things)
    if wanted:
        return wanted, frozenset(range(wanted) if wanted_things is None else wanted_things)
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
