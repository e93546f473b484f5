"""The categories that a trained model knows, without the data set that it was trained on."""

import json
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from detr_d2.data.categories import CategoryTable


def use_model_categories(
    cfg: CfgNode, config_file: str, categories: str | None = None
) -> CategoryTable | None:
    """Give the config the categories of a file, in the place of those of its data sets.

    Args:
        cfg: its DATASETS.TRAIN and DATASETS.TEST become an entry of the catalog for the file.
        config_file: the config's file; `categories.json` beside it, which every training writes,
            is taken when `categories` is None.
        categories: a COCO-panoptic JSON, or a list of its categories.

    Returns:
        The categories; None when there is no file: the config's own data sets then count.

    Raises:
        ValueError: a faulty category.
    """
    beside = Path(config_file).parent / "categories.json"
    if categories is None and not beside.is_file():
        return None
    path = Path(categories) if categories is not None else beside
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = content["categories"] if isinstance(content, dict) else content
    table = CategoryTable(entries, str(path))
    name = str(path.resolve())
    MetadataCatalog.get(name).set(**table.metadata())
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (name,), (name,)
    return table
