"""All data sets of a config must agree on their classes, wherever several are used."""

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from tiny_model import build, give_weights, tiny_cfg

from detr_d2.data.categories import CategoryTable
from detr_d2.engine import DetrTrainer, Predictor


@pytest.fixture
def cfg(tmp_path):
    """Trained on cars, evaluated on cars and buses; both sets are empty."""
    cfg = tiny_cfg("Detr")
    cfg.MODEL.DETR.NUM_CLASSES = 1
    give_weights(cfg, tmp_path)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("cars",), ("cars", "buses")
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    for name, label in (("cars", "car"), ("buses", "bus")):
        MetadataCatalog.get(name).set(**table(label).metadata())
    yield cfg
    for name in ("cars", "buses"):
        MetadataCatalog.remove(name)


def table(label):
    return CategoryTable([{"id": 1, "name": label, "isthing": 1}])


@pytest.mark.parametrize(
    "use",
    [DetrTrainer, Predictor, lambda cfg: DetrTrainer.test(cfg, build(cfg))],
    ids=["training", "prediction", "evaluation"],
)
def test_sets_with_other_classes_stop_it_at_its_start(cfg, use):
    with pytest.raises(ValueError, match="'cars' and 'buses' have different classes"):
        use(cfg)


def test_a_set_that_knows_its_classes_once_it_is_loaded_is_compared_then(cfg):
    def load():
        MetadataCatalog.get("late").set(
            thing_classes=["bus"], thing_dataset_id_to_contiguous_id={1: 0}
        )
        return [{"file_name": "1.jpg", "image_id": 1, "height": 4, "width": 6}]

    cfg.DATASETS.TEST = ("late",)
    DatasetCatalog.register("late", load)
    try:
        with pytest.raises(ValueError, match="'cars' and 'late' have different classes"):
            DetrTrainer.test(cfg, build(cfg))
    finally:
        DatasetCatalog.remove("late")
        MetadataCatalog.remove("late")


def test_categories_that_are_not_the_models_are_rejected(cfg):
    cfg.DATASETS.TEST = ("cars",)
    Predictor(cfg, table("car"))
    with pytest.raises(ValueError, match=r"categories are \['bus'\].*are \['car'\]"):
        Predictor(cfg, table("bus"))


def test_things_and_stuff_that_are_counted_apart_are_rejected(cfg):
    """As records="separated" are: thing 0 is a car, stuff 0 is all things."""
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("apart",)
    MetadataCatalog.get("apart").set(
        thing_classes=["car"],
        thing_dataset_id_to_contiguous_id={1: 0},
        stuff_classes=["things", "road"],
        stuff_dataset_id_to_contiguous_id={0: 0, 2: 1},
    )
    try:
        with pytest.raises(ValueError, match="'apart' counts things and stuff apart"):
            build(cfg)
    finally:
        MetadataCatalog.remove("apart")
