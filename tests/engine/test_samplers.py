"""Detectron2's samplers that look into the records."""

import itertools
from collections import Counter

from detr_d2.data.mapper import DetrMapper
from detr_d2.engine.train_loader import build_train_loader


def record(number, *classes, crowds=()):
    segments = [{"category_id": c, "iscrowd": 0} for c in classes]
    segments += [{"category_id": c, "iscrowd": 1} for c in crowds]
    return {"file_name": f"{number}.jpg", "height": 4, "width": 6, "segments_info": segments}


def test_images_of_rare_classes_come_more_often(toy_cfg):
    """Class 1 is in one of 8 images: by the LVIS paper's rule sqrt(0.5 / (1 / 8)) = 2 times.

    A crowd of it is nothing to learn from.
    """
    records = [record(0, 0, 1), record(1, 0, crowds=[1]), *(record(n, 0) for n in range(2, 8))]
    toy_cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    toy_cfg.DATALOADER.REPEAT_THRESHOLD = 0.5
    loader = build_train_loader(toy_cfg, records, DetrMapper(toy_cfg, is_train=True))
    # Two rounds of nine.
    times = Counter(itertools.islice(loader.indices(3), 18))
    assert times == {0: 4, **dict.fromkeys(range(1, 8), 2)}
