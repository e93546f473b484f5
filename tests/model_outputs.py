"""Outputs of a model that knows the ground truth, and their evaluation in several processes."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm
from kills import start_child
from PIL import Image

from detr_d2.config import add_detr_config
from detr_d2.evaluation import build_evaluators
from detr_d2.evaluation.build import NAMES
from detr_d2.ops.panoptic_ids import rgb_to_id


def output_of_ground_truth(record: dict[str, Any], classes: int) -> dict[str, Any]:
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


def worsen(record: dict[str, Any], output: dict[str, Any]) -> dict[str, Any]:
    """Shift all by two columns, and take the first segment for the other class of its kind."""
    ids, segments = output["panoptic_seg"]
    wrong = [dict(s) for s in segments]
    for segment in wrong[:1]:
        segment["category_id"] = {0: 1, 1: 0, 2: 3, 3: 2}[segment["category_id"]]
    instances = output["instances"]
    instances.pred_boxes.tensor[:, ::2] += 2
    instances.pred_masks = torch.roll(instances.pred_masks, 2, dims=2)
    return {
        "panoptic_seg": (torch.roll(ids, 2, dims=1), wrong),
        "instances": instances,
        "sem_seg": torch.roll(output["sem_seg"], 2, dims=2),
    }


def evaluate_part(
    name: str,
    evaluators: list[str],
    folder: Path,
    change: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """Run the named evaluators of a set on this process's share of the images."""
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.TEST.EVALUATORS = evaluators
    classes = len(MetadataCatalog.get(name).stuff_classes)
    results = {}
    for evaluator in build_evaluators(cfg, name, str(folder)):
        evaluator.reset()
        for record in share_of_records(name):
            output = change(record, output_of_ground_truth(record, classes))
            evaluator.process([record], [output])
        results.update(evaluator.evaluate() or {})
    return results


def share_of_records(name: str) -> list[dict[str, Any]]:
    """The records of this process: one, none and the rest in three processes."""
    records = DatasetCatalog.get(name)
    if comm.get_world_size() == 1:
        return records
    return (records[:1], [], records[1:])[comm.get_rank()]


def evaluate_in_process(args: Namespace) -> None:
    """Evaluate worsened outputs as one of several processes; each writes its results."""
    start_child()
    results = evaluate_part(args.name, list(NAMES), args.folder, worsen)
    (args.folder / f"results.{comm.get_rank()}.json").write_text(json.dumps(results))
