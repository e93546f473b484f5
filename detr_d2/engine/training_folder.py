"""The folder that a training writes (OUTPUT_DIR), found again: its config, its best weights, its
categories.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from detr_d2 import model_zoo
from detr_d2.data.categories import CategoryTable, contiguous_ids
from detr_d2.utils.colors import default_color
from detr_d2.utils.files import read_json

CONFIG, CATEGORIES = "config.yaml", "categories.json"
# The best comes first: chosen by evaluation, averaged over the training, or simply the last.
WEIGHTS = ("model_best.pth", "model_ema.pth", "model_final.pth")


def find_config(name: str | os.PathLike[str]) -> str:
    """Return the config file that a user means.

    Args:
        name: a YAML file, a training folder, or a name of the model zoo, looked for in this order.

    Raises:
        ValueError: none of the three; names of the zoo that are near are in the message.
    """
    path = Path(name)
    if path.is_file():
        return str(path)
    if path.is_dir():
        if (path / CONFIG).is_file():
            return str(path / CONFIG)
        raise ValueError(f"{path} is no training folder: it holds no {CONFIG}")
    try:
        return model_zoo.get_config_file(path.as_posix())
    except ValueError as error:
        raise ValueError(f"config {name}: no such file or folder, and {error}") from None


def best_weights(folder: str | os.PathLike[str]) -> str:
    """Return the best weights of a training folder: the first of WEIGHTS that is there.

    Raises:
        ValueError: none of them is.
    """
    for name in WEIGHTS:
        if (Path(folder) / name).is_file():
            return str(Path(folder) / name)
    found = sorted(path.name for path in Path(folder).glob("*.pth"))
    raise ValueError(
        f"{folder}: no {', '.join(WEIGHTS)}; its weights are {found or 'none'}: "
        "is the training finished?"
    )


def use_model_categories(
    cfg: CfgNode, config_file: str, categories: str | None = None
) -> CategoryTable | None:
    """Give the config the categories of a file, in the place of those of its data sets.

    Args:
        cfg: its DATASETS.TRAIN and DATASETS.TEST become an entry of the catalog for the file.
        config_file: whatever `find_config` takes; `categories.json` beside it, which every
            training writes, is taken when `categories` is None.
        categories: a COCO-panoptic JSON, or a list of its categories.

    Returns:
        The categories; None when there is no file: the config's own data sets then count.

    Raises:
        ValueError: a faulty file or category.
    """
    beside = Path(find_config(config_file) if config_file else "").parent / CATEGORIES
    if categories is None and not beside.is_file():
        return None
    path = Path(categories) if categories is not None else beside
    content = read_json(path)
    entries = content["categories"] if isinstance(content, dict) else content
    table = CategoryTable(entries, str(path))
    name = str(path.resolve())
    if name in MetadataCatalog.list():
        # The file may have changed since it was last read.
        MetadataCatalog.remove(name)
    MetadataCatalog.get(name).set(**table.metadata())
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (name,), (name,)
    return table


def registered_categories(dataset_names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the categories of the first of these sets that knows them all.

    Returns:
        COCO-panoptic entries in contiguous order, those of a detection set all things; empty if
        no set knows its categories, as one of `register_coco_instances` before it is loaded.
    """
    for name in dataset_names:
        metadata = MetadataCatalog.get(name)
        things, stuff = contiguous_ids(metadata)
        # One list of all classes; or, of a detection set, one of things.
        for kind, ids in (("stuff", {**things, **stuff}), ("thing", things)):
            names = metadata.get(f"{kind}_classes") or []
            colors = metadata.get(f"{kind}_colors") or []
            if names and sorted(ids.values()) == list(range(len(names))):
                return [
                    {
                        "id": category_id,
                        "name": names[index],
                        "isthing": int(category_id in things),
                        "color": list(
                            colors[index] if index < len(colors) else default_color(index)
                        ),
                    }
                    for category_id, index in sorted(ids.items(), key=lambda item: item[1])
                ]
    return []
