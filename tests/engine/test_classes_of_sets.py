"""Training and validation sets must agree on their classes."""

import pytest
from detectron2.data import MetadataCatalog

from detr_d2.config import add_detr_config
from detr_d2.data.categories import CategoryTable
from detr_d2.engine import DetrTrainer


def test_sets_with_other_classes_stop_a_training_at_its_start():
    from detectron2.config import get_cfg

    for name, label in (("cars", "car"), ("buses", "bus")):
        table = CategoryTable([{"id": 1, "name": label, "isthing": 1}])
        MetadataCatalog.get(name).set(**table.metadata())
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("cars",), ("buses",)
    try:
        with pytest.raises(ValueError, match="'cars' and 'buses' have different classes"):
            DetrTrainer(cfg)
    finally:
        for name in ("cars", "buses"):
            MetadataCatalog.remove(name)
