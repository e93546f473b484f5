"""Trainer: Detectron2's hooks and loop around a step with accumulation and mixed precision."""

import logging
import os
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase, create_ddp_model, hooks
from detectron2.evaluation import DatasetEvaluators
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter, EventWriter, TensorboardXWriter
from torch import nn

from detr_d2.checkpoint import LoadingRules
from detr_d2.checkpoint.checkpointer import Checkpointer
from detr_d2.data.categories import check_same_classes
from detr_d2.data.mapper import DetrMapper
from detr_d2.engine.ema import WeightAverageHook
from detr_d2.engine.evaluation import BestWeights, held_out_losses
from detr_d2.engine.hooks import LogHook, MetricsFile, PictureHook, TrainingPictureHook
from detr_d2.engine.interruption import EvaluationHook, InterruptionHook
from detr_d2.engine.randomness import derive_seed, fix_seed, seed_generators
from detr_d2.engine.solver import build_gradient_clipper, build_optimizer
from detr_d2.engine.step import AccumulatingTrainer, choose_precision
from detr_d2.engine.train_loader import build_train_loader
from detr_d2.engine.training_records import training_records
from detr_d2.evaluation import build_evaluators, flat_results
from detr_d2.utils.files import write_json

logger = logging.getLogger(__name__)

# Detectron2's name of the last checkpoint, without extension.
FINAL = "model_final"


class DetrTrainer(DefaultTrainer):
    """Train and evaluate by config.

    Differs from Detectron2's `DefaultTrainer` in the step (SOLVER.ACCUMULATE, AMP, clipping of the
    whole model), in averaged weights (SOLVER.EMA), in pictures at each evaluation
    (TEST.VISUALIZE), in that it runs in several processes on CPU too, and in that it can be
    trusted: SEED decides every random number, a resumed training is the one that was interrupted,
    and SIGTERM and Ctrl-C leave a checkpoint.

    Args:
        cfg: the whole config. With SOLVER.REFERENCE_WORLD_SIZE set, batch, learning rate and
            schedule are scaled to the number of processes, as Detectron2 does.
    """

    def __init__(self, cfg: CfgNode) -> None:
        # Not DefaultTrainer's: it hands device ids to DDP, which refuses them on CPU.
        TrainerBase.__init__(self)
        check_same_classes([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
        self.cfg = cfg = self.auto_scale_workers(cfg.clone(), comm.get_world_size())
        fix_seed(cfg)
        self.seed = cfg.SEED
        # The same fresh weights in all processes.
        seed_generators(cfg.SEED)
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
            max_skipped=cfg.SOLVER.MAX_SKIPPED_STEPS,
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
        interruption = InterruptionHook(self.checkpointer, torch.device(cfg.MODEL.DEVICE))
        average: WeightAverageHook | None = None
        ours: list[HookBase] = [hooks.IterationTimer(), hooks.LRScheduler()]
        if cfg.SOLVER.EMA.ENABLED:
            average = WeightAverageHook(model, cfg.SOLVER.EMA.DECAY, period, cfg.OUTPUT_DIR)
            ours.append(average)

        def model_to_evaluate() -> nn.Module:
            return average.weights.module() if average else model

        best = BestWeights(cfg) if cfg.TEST.EVAL_PERIOD > 0 and cfg.DATASETS.TEST else None
        if cfg.TEST.LOSS_IMAGES and not hasattr(model, "losses"):
            raise ValueError(
                f"TEST.LOSS_IMAGES {cfg.TEST.LOSS_IMAGES}: {cfg.MODEL.META_ARCHITECTURE} has no "
                "method `losses`; set it to 0"
            )

        def evaluate() -> dict[str, Any]:
            return self._evaluate(model_to_evaluate(), best)

        if comm.is_main_process():
            ours.append(hooks.PeriodicCheckpointer(self.checkpointer, period))
        ours.append(interruption)
        # A checkpoint is written before these, so that a fault in them loses nothing.
        evaluation: list[HookBase] = [EvaluationHook(cfg.TEST.EVAL_PERIOD, evaluate, interruption)]
        mapper = DetrMapper(cfg, is_train=False)
        if comm.is_main_process() and cfg.TEST.VISUALIZE > 0 and cfg.DATASETS.TEST:
            evaluation.append(PictureHook(cfg, model_to_evaluate, mapper))
        self._log = LogHook(self.build_writers() if comm.is_main_process() else [])
        self._after_checkpoint = [*evaluation, self._log]
        picture = [TrainingPictureHook(cfg, model_to_evaluate, mapper)]
        return [*ours, *self._after_checkpoint, *(picture if comm.is_main_process() else [])]

    def _evaluate(self, model: nn.Module, best: BestWeights | None) -> dict[str, Any]:
        """Evaluate a model, keep it if it is the best; what is to be logged."""
        self._last_eval_results = results = self.test(self.cfg, model)
        if best is not None and comm.is_main_process():
            best.keep(results, model, self.iter, resumed=self.start_iter > 0)
        if self.cfg.TEST.LOSS_IMAGES and self.cfg.DATASETS.TEST:
            return {**results, "validation": held_out_losses(self.cfg, model)}
        return results

    def build_writers(self) -> list[EventWriter]:
        """Detectron2's: console, metrics.json, TensorBoard."""
        folder = self.cfg.OUTPUT_DIR
        os.makedirs(folder, exist_ok=True)
        return [
            CommonMetricPrinter(self.max_iter),
            MetricsFile(os.path.join(folder, "metrics.json")),
            TensorboardXWriter(folder),
        ]

    def before_train(self) -> None:
        """After a resume: do what was due after the checkpoint, but not done before the kill."""
        super().before_train()
        last = self.start_iter - 1
        if last < 0:
            return
        self.iter = self.storage.iter = last
        if last >= self.max_iter - 1:
            if not os.path.exists(os.path.join(self.cfg.OUTPUT_DIR, f"{FINAL}.pth")):
                self.checkpointer.save(FINAL, iteration=last)
        elif not comm.all_gather(self._log.has(last))[0]:
            for hook in self._after_checkpoint:
                hook.after_step()

    def after_train(self) -> None:
        """Besides the hooks' own: end the data workers, which the end of Python would wait for."""
        try:
            super().after_train()
        finally:
            self._trainer.close()

    def run_step(self) -> None:
        """One step, whose random numbers follow from SEED, iteration and process."""
        seed_generators(derive_seed(self.seed, self.iter, comm.get_rank()))
        super().run_step()

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs: hooks, step, seed, and the place in the data."""
        state = {**super().state_dict(), "seed": self.seed}
        loader = self._trainer.data_loader
        return {**state, "data": loader.state_dict()} if hasattr(loader, "state_dict") else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint of this class, or of an older version of it."""
        super().load_state_dict(state_dict)
        self.seed = state_dict.get("seed", self.seed)
        loader = self._trainer.data_loader
        if "data" in state_dict and hasattr(loader, "load_state_dict"):
            loader.load_state_dict(state_dict["data"])
        else:
            logger.warning("The data begin anew: the checkpoint, or the loader, has no place")

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
        return build_train_loader(cfg, training_records(cfg), DetrMapper(cfg, is_train=True))

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable[list[dict[str, Any]]]:
        """Every image of a data set once, shared out among the processes."""
        mapper = DetrMapper(cfg, is_train=False)
        batch = cfg.TEST.IMS_PER_BATCH
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper, batch_size=batch)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluators:
        """The evaluators of TEST.EVALUATORS.

        Raises:
            ValueError: the set has other classes than those of the training.
        """
        # Again: some sets know their classes only once they are loaded.
        check_same_classes([*cfg.DATASETS.TRAIN, dataset_name])
        folder = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        return DatasetEvaluators(build_evaluators(cfg, dataset_name, folder))

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> dict[str, Any]:
        """Evaluate, and write the main figures to OUTPUT_DIR/evaluation.json.

        Returns:
            Detectron2's nested results; for several data sets one level more, by their names.

        Raises:
            ValueError: the data sets differ in their classes.
        """
        check_same_classes([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
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
    ids = None if device.type == "cpu" else [torch.cuda.current_device()]
    with warnings.catch_warnings():
        # Only newer versions of torch know the name that they would have instead.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
        # A batch without any object, or a loss of weight 0, leaves parameters without a gradient.
        return create_ddp_model(
            model, broadcast_buffers=False, find_unused_parameters=True, device_ids=ids
        )
