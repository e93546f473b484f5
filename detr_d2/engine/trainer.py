"""Trainer: Detectron2's hooks and loop around a step with accumulation and mixed precision."""

import logging
import os
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import (
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase, create_ddp_model, hooks
from detectron2.evaluation import DatasetEvaluators
from detectron2.utils import comm
from torch import nn

from detr_d2.checkpoint import LoadingRules
from detr_d2.checkpoint.checkpointer import Checkpointer
from detr_d2.data.categories import check_same_classes
from detr_d2.data.mapper import DetrMapper
from detr_d2.engine.ema import WeightAverageHook
from detr_d2.engine.hooks import PictureHook
from detr_d2.engine.solver import build_gradient_clipper, build_optimizer
from detr_d2.engine.step import AccumulatingTrainer, choose_precision
from detr_d2.evaluation import build_evaluators, flat_results
from detr_d2.utils.files import write_json

logger = logging.getLogger(__name__)


class DetrTrainer(DefaultTrainer):
    """Train and evaluate by config.

    Differs from Detectron2's `DefaultTrainer` in the step (SOLVER.ACCUMULATE, AMP, clipping of the
    whole model), in averaged weights (SOLVER.EMA), in pictures at each evaluation
    (TEST.VISUALIZE), and in that it runs in several processes on CPU too.

    Args:
        cfg: the whole config. With SOLVER.REFERENCE_WORLD_SIZE set, batch, learning rate and
            schedule are scaled to the number of processes, as Detectron2 does.
    """

    def __init__(self, cfg: CfgNode) -> None:
        # Not DefaultTrainer's: it hands device ids to DDP, which refuses them on CPU.
        TrainerBase.__init__(self)
        check_same_classes([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
        self.cfg = cfg = self.auto_scale_workers(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        device = torch.device(cfg.MODEL.DEVICE)
        self._trainer = AccumulatingTrainer(
            _wrap_for_processes(model, device),
            self.build_train_loader(cfg),
            optimizer,
            accumulate=cfg.SOLVER.ACCUMULATE,
            clip=build_gradient_clipper(cfg),
            precision=choose_precision(cfg.SOLVER.AMP.ENABLED, device),
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = Checkpointer(
            model,
            cfg.OUTPUT_DIR,
            cfg=cfg,
            rules=LoadingRules.from_config(cfg),
            trainer=weakref.proxy(self),
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.register_hooks(self.build_hooks())

    def build_hooks(self) -> list[HookBase]:
        """The hooks in their order: state first, then checkpoint, evaluation, writers."""
        cfg, model = self.cfg, self.checkpointer.model
        # Detectron2's checkpointer divides by the period; 0 = only at the end.
        period = cfg.SOLVER.CHECKPOINT_PERIOD or cfg.SOLVER.MAX_ITER + 1
        average: WeightAverageHook | None = None
        ours: list[HookBase] = [hooks.IterationTimer(), hooks.LRScheduler()]
        if cfg.SOLVER.EMA.ENABLED:
            average = WeightAverageHook(model, cfg.SOLVER.EMA.DECAY, period, cfg.OUTPUT_DIR)
            ours.append(average)

        def model_to_evaluate() -> nn.Module:
            return average.weights.module() if average else model

        def evaluate() -> dict[str, Any]:
            self._last_eval_results = self.test(cfg, model_to_evaluate())
            return self._last_eval_results

        if comm.is_main_process():
            ours.append(hooks.PeriodicCheckpointer(self.checkpointer, period))
        ours.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, evaluate))
        if comm.is_main_process():
            if cfg.TEST.VISUALIZE > 0 and cfg.DATASETS.TEST:
                mapper = DetrMapper(cfg, is_train=False)
                ours.append(PictureHook(cfg, model_to_evaluate, mapper))
            ours.append(hooks.PeriodicWriter(self.build_writers()))
        return ours

    def train(self) -> dict[str, Any]:
        """Run from `start_iter` to the end; gives the results of the last evaluation."""
        super().train()
        return getattr(self, "_last_eval_results", {})

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """See `detr_d2.engine.solver`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable[list[dict[str, Any]]]:
        """Endless micro-batches of SOLVER.IMS_PER_BATCH / SOLVER.ACCUMULATE images."""
        batch, parts = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATE * comm.get_world_size()
        if batch % parts:
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH {batch} must be a multiple of SOLVER.ACCUMULATE x number "
                f"of processes = {parts}"
            )
        micro = cfg.clone()
        micro.defrost()
        micro.SOLVER.IMS_PER_BATCH = batch // cfg.SOLVER.ACCUMULATE
        mapper = DetrMapper(cfg, is_train=True)
        return build_detection_train_loader(micro, mapper=mapper, dataset=_training_records(cfg))

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable[list[dict[str, Any]]]:
        """Every image of a data set once, shared out among the processes."""
        mapper = DetrMapper(cfg, is_train=False)
        batch = cfg.TEST.IMS_PER_BATCH
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper, batch_size=batch)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluators:
        """The evaluators of TEST.EVALUATORS."""
        folder = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        return DatasetEvaluators(build_evaluators(cfg, dataset_name, folder))

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> dict[str, Any]:
        """Evaluate, and write the main figures to OUTPUT_DIR/evaluation.json.

        Returns:
            Detectron2's nested results; for several data sets one level more, by their names.
        """
        results = super().test(cfg, model, evaluators)
        if comm.is_main_process() and results:
            single = len(cfg.DATASETS.TEST) == 1
            flat: dict[str, Any] = (
                flat_results(results)
                if single
                else {name: flat_results(part) for name, part in results.items()}
            )
            write_json(os.path.join(cfg.OUTPUT_DIR, "evaluation.json"), flat, indent=2)
        return results


def _wrap_for_processes(model: nn.Module, device: torch.device) -> nn.Module:
    """Wrap the model for gradient exchange if there are several processes."""
    kwargs: dict[str, Any] = {"device_ids": None} if device.type == "cpu" else {}
    # A batch without any object, or a loss of weight 0, leaves parameters without a gradient.
    return create_ddp_model(model, broadcast_buffers=False, find_unused_parameters=True, **kwargs)


def _training_records(cfg: CfgNode) -> list[dict[str, Any]]:
    """Records of DATASETS.TRAIN, by DATALOADER.FILTER_EMPTY_ANNOTATIONS without the empty ones.

    Detectron2's own filter looks for "annotations" and never sees a panoptic record.
    """
    records: list[dict[str, Any]] = get_detection_dataset_dicts(
        list(cfg.DATASETS.TRAIN), filter_empty=False
    )
    # Weighted samplers count the records themselves, before any filter.
    if not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS or "Weighted" in cfg.DATALOADER.SAMPLER_TRAIN:
        return records
    kept = [record for record in records if _has_object(record)]
    if len(kept) < len(records):
        logger.info(
            "Skipped %d of %d images without a segment; DATALOADER.FILTER_EMPTY_ANNOTATIONS "
            "False keeps them",
            len(records) - len(kept),
            len(records),
        )
    if not kept:
        raise ValueError(f"no image of {', '.join(cfg.DATASETS.TRAIN)} has a segment to learn")
    return kept


def _has_object(record: dict[str, Any]) -> bool:
    segments = record.get("segments_info", record.get("annotations", [{}]))
    return any(not segment.get("iscrowd", 0) for segment in segments)
