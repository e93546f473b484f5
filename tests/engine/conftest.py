"""Config of a training that takes a moment."""

import pytest
from detectron2.config import get_cfg

from detr_d2.config import add_detr_config


@pytest.fixture
def toy_cfg(tmp_path, tiny_set, register):
    """Config of a training on the tiny set; the test brings the model, "ToyModel"."""
    name = register(**tiny_set.paths())
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.MODEL.META_ARCHITECTURE = "ToyModel"
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (name,)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TRAIN = (16,)
    cfg.INPUT.MIN_SIZE_TEST = 16
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SOLVER.MAX_ITER = 4
    cfg.SOLVER.STEPS = (3,)
    cfg.SOLVER.WARMUP_ITERS = 0
    cfg.SOLVER.BASE_LR = 0.01
    cfg.SOLVER.CHECKPOINT_PERIOD = 2
    cfg.TEST.EVALUATORS = ["panoptic"]
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    cfg.SEED = 1
    return cfg
