"""Ground truth turned into the model's outputs."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances
from PIL import Image

from detr_d2.config import add_detr_config
from detr_d2.evaluation import build_evaluators
from detr_d2.ops.panoptic_ids import rgb_to_id


def output_of_ground_truth(record, classes):
    """What a perfect model gives for a record; crowds are skipped, as a model never finds one."""
    with Image.open(record["pan_seg_file_name"]) as png:
        ids = rgb_to_id(np.asarray(png))
    found = [s for s in record["segments_info"] if not s["iscrowd"]]
    panoptic = np.where(np.isin(ids, [s["id"] for s in found]), ids, 0)
    things = [s for s in found if s["isthing"]]
    masks = torch.from_numpy(np.stack([ids == s["id"] for s in things])) if things else None
    instances = Instances(ids.shape)
    instances.pred_masks = masks if things else torch.zeros((0, *ids.shape), dtype=torch.bool)
    boxes = [[x, y, x + w, y + h] for x, y, w, h in (s["bbox"] for s in things)]
    instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.scores = torch.full((len(things),), 0.9)
    instances.pred_classes = torch.tensor([s["category_id"] for s in things], dtype=torch.int64)
    labels = torch.zeros(ids.shape, dtype=torch.int64)
    for s in record["segments_info"]:
        labels[torch.from_numpy(ids == s["id"])] = s["category_id"]
    return {
        "panoptic_seg": (
            torch.from_numpy(panoptic.astype(np.int32)),
            [{key: s[key] for key in ("id", "category_id", "isthing")} for s in found],
        ),
        "instances": instances,
        "sem_seg": torch.nn.functional.one_hot(labels, classes).permute(2, 0, 1).float(),
    }


@pytest.fixture
def evaluate(tmp_path):
    """Run the named evaluators on perfect outputs, each changed by `change(record, output)`."""

    def _evaluate(
        name: str, evaluators: list[str], change: Callable = lambda record, output: output
    ) -> dict:
        cfg = get_cfg()
        add_detr_config(cfg)
        cfg.TEST.EVALUATORS = evaluators
        results = {}
        for evaluator in build_evaluators(cfg, name, str(tmp_path / "inference")):
            evaluator.reset()
            for record in DatasetCatalog.get(name):
                output = change(record, output_of_ground_truth(record, 4))
                evaluator.process([record], [output])
            results.update(evaluator.evaluate())
        return results

    return _evaluate
