"""Which evaluators a config asks for, and the figures that people quote of their results."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    DatasetEvaluator,
)

from detr_d2.evaluation.instances import build_instance_evaluator
from detr_d2.evaluation.panoptic import PanopticEvaluator
from detr_d2.evaluation.semantic import build_semantic_evaluator

logger = logging.getLogger(__name__)

NAMES = ("panoptic", "box", "mask", "semantic")


def build_evaluators(cfg: CfgNode, dataset_name: str, output_dir: str) -> list[DatasetEvaluator]:
    """Build the evaluators that TEST.EVALUATORS names.

    Args:
        cfg: the whole config.
        dataset_name: a registered panoptic data set, or one of Detectron2's Cityscapes sets.
        output_dir: folder for predictions and derived ground truth.

    Returns:
        Evaluators in a fixed order; boxes and masks share one. "box" and "mask" are skipped, with
        a warning, on a set without things.

    Raises:
        ValueError: a name that does not exist, or that does not go with this data set.
    """
    names = list(cfg.TEST.EVALUATORS)
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type", "coco_panoptic_seg")
    if kind.startswith("cityscapes"):
        return _cityscapes(names, kind, dataset_name, output_dir)
    _check(names, NAMES, dataset_name)
    evaluators: list[DatasetEvaluator] = []
    if "panoptic" in names:
        evaluators.append(PanopticEvaluator(dataset_name, output_dir))
    tasks = [task for name, task in (("box", "bbox"), ("mask", "segm")) if name in names]
    if tasks and not MetadataCatalog.get(dataset_name).thing_dataset_id_to_contiguous_id:
        logger.warning("%s has no things: boxes and instance masks are not evaluated", dataset_name)
    elif tasks:
        evaluators.append(build_instance_evaluator(dataset_name, tasks, output_dir))
    if "semantic" in names:
        evaluators.append(build_semantic_evaluator(dataset_name, output_dir))
    return evaluators


def _cityscapes(
    names: list[str], kind: str, dataset_name: str, output_dir: str
) -> list[DatasetEvaluator]:
    """Cityscapes has its own scripts, and no box evaluation."""
    by_name: dict[str, Callable[[], DatasetEvaluator]] = {}
    if kind == "cityscapes_panoptic_seg":
        by_name["panoptic"] = lambda: PanopticEvaluator(dataset_name, output_dir)
    if kind in ("cityscapes_panoptic_seg", "cityscapes_instance"):
        by_name["mask"] = lambda: CityscapesInstanceEvaluator(dataset_name)
    if kind in ("cityscapes_panoptic_seg", "cityscapes_sem_seg"):
        by_name["semantic"] = lambda: CityscapesSemSegEvaluator(dataset_name)
    _check(names, by_name, dataset_name)
    return [make() for name, make in by_name.items() if name in names]


def _check(names: list[str], allowed: Iterable[str], dataset_name: str) -> None:
    wrong = [name for name in names if name not in allowed]
    if wrong:
        raise ValueError(f"TEST.EVALUATORS {wrong} for {dataset_name}, allowed: {list(allowed)}")


# Name here -> (task, metric) there.
FIGURES = {
    "PQ": ("panoptic_seg", "PQ"),
    "SQ": ("panoptic_seg", "SQ"),
    "RQ": ("panoptic_seg", "RQ"),
    "PQ_th": ("panoptic_seg", "PQ_th"),
    "PQ_st": ("panoptic_seg", "PQ_st"),
    "box_AP": ("bbox", "AP"),
    "mask_AP": ("segm", "AP"),
    "mIoU": ("sem_seg", "mIoU"),
}


def flat_results(results: Mapping[str, Mapping[str, float]]) -> dict[str, float | None]:
    """Flatten the results of one data set.

    Args:
        results: {task: {metric: percent}} as Detectron2's evaluators give them.

    Returns:
        Every name of `FIGURES` with its percentage, or None where it was not measured or is not a
        number (things of a set without things). Ready for JSON.
    """
    flat: dict[str, float | None] = {}
    for name, (task, metric) in FIGURES.items():
        value = results.get(task, {}).get(metric)
        flat[name] = float(value) if value is not None and math.isfinite(value) else None
    return flat
