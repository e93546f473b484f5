"""A dry run before a long training: every part of it once, in about a minute."""

import itertools
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation.evaluator import inference_context
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from tabulate import tabulate

from detr_d2.checkpoint import open_weights
from detr_d2.checkpoint.checkpointer import model_content, save_weights
from detr_d2.data.mapper import DetrMapper
from detr_d2.engine.ema import FILE_NAME as AVERAGE
from detr_d2.engine.evaluation import BEST
from detr_d2.engine.trainer import DetrTrainer
from detr_d2.engine.training_records import objects_of, training_records
from detr_d2.evaluation import build_evaluators

Row = tuple[str, str]
MEGABYTE = 2**20


def check_training(cfg: CfgNode) -> str:
    """Run one step, a batch of each evaluation and a checkpoint, as the training will.

    The step takes the images with the most objects. Nothing is left in OUTPUT_DIR.

    Returns:
        A table: classes, queries, memory, disk and schedule.

    Raises:
        ValueError, OSError, FloatingPointError and others: whatever would stop the training.
    """
    with _temporary_folder(cfg.OUTPUT_DIR) as folder:
        dry = cfg.clone()
        dry.defrost()
        dry.OUTPUT_DIR = folder
        trainer = _DryTrainer(dry)
        trainer.resume_or_load(resume=False)
        seconds, losses = _step(trainer)
        # What an evaluation takes comes on top of what a training holds.
        evaluated = [row for name in dry.DATASETS.TEST for row in _evaluate(trainer, name)]
        sizes = _save(trainer)
        rows = [
            *_data_rows(trainer),
            ("losses of the step", ", ".join(f"{k} {v:.3g}" for k, v in losses.items())),
            *evaluated,
            ("memory", _memory(trainer.cfg.MODEL.DEVICE)),
            *_schedule_rows(trainer.cfg, seconds),
            ("disk", _disk(trainer.cfg, *sizes)),
        ]
        return tabulate(rows, tablefmt="simple_outline", maxcolwidths=[None, 90])


@contextmanager
def _temporary_folder(parent: str) -> Iterator[str]:
    """One folder for all processes; the main one makes and removes it."""
    with ExitStack() as stack:
        folder = ""
        if comm.is_main_process():
            os.makedirs(parent, exist_ok=True)
            made = tempfile.TemporaryDirectory(prefix=".check-", dir=parent)
            folder = stack.enter_context(made)
        yield comm.all_gather(folder)[0]
        comm.synchronize()


class _DryTrainer(DetrTrainer):
    """Trains on the images with the most objects."""

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable[list[dict[str, Any]]]:
        # For its checks.
        super().build_train_loader(cfg)
        size = cfg.SOLVER.IMS_PER_BATCH // cfg.SOLVER.ACCUMULATE // comm.get_world_size()
        records = sorted(training_records(cfg), key=lambda r: len(objects_of(r)), reverse=True)
        mapper = DetrMapper(cfg, is_train=True)
        return itertools.repeat(
            [mapper(r) for r in itertools.islice(itertools.cycle(records), size)]
        )


def _step(trainer: DetrTrainer) -> tuple[float, dict[str, float]]:
    """Forward, backward and update: seconds, and the losses of the last layer."""
    with EventStorage(0) as trainer.storage:
        start = time.perf_counter()
        trainer.run_step()
        latest = trainer.storage.latest()
        losses = {k: v for k, (v, _) in latest.items() if "loss" in k and not k[-1].isdigit()}
        return time.perf_counter() - start, losses


def _evaluate(trainer: DetrTrainer, name: str) -> list[Row]:
    """Run the first batch of a test set through model and evaluators."""
    cfg, model = trainer.cfg, trainer.checkpointer.model
    evaluators = build_evaluators(cfg, name, os.path.join(cfg.OUTPUT_DIR, name))
    loader: Any = trainer.build_test_loader(cfg, name)
    batch = next(iter(loader))
    start = time.perf_counter()
    with inference_context(model), torch.no_grad():
        outputs = model(batch)
    for evaluator in evaluators:
        evaluator.reset()
        evaluator.process(batch, outputs)
    seconds = (time.perf_counter() - start) / len(batch)
    count = len(loader.dataset)
    return [(f"evaluation of {name}", f"{count} images, {seconds:.2g} s each")]


def _save(trainer: DetrTrainer) -> tuple[int, int]:
    """Write a checkpoint and read it again: its size in bytes, and that of the weights alone."""
    folder = trainer.cfg.OUTPUT_DIR
    weights, checkpoint = os.path.join(folder, "weights.pth"), os.path.join(folder, "check.pth")
    if comm.is_main_process():
        save_weights(weights, model_content(trainer.checkpointer.model))
    trainer.checkpointer.save("check")
    comm.synchronize()
    open_weights(checkpoint)
    return os.path.getsize(checkpoint), os.path.getsize(weights)


def _data_rows(trainer: DetrTrainer) -> list[Row]:
    cfg = trainer.cfg
    records = training_records(cfg)
    counts = [len(objects_of(record)) for record in records]
    classes = Counter(segment.get("category_id") for r in records for segment in objects_of(r))
    names = list(getattr(trainer.checkpointer.model, "class_names", ()))
    names = names or MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).get("thing_classes", [])
    listed = [f"{name} {classes[i]}" for i, name in enumerate(names)]
    absent = [name for i, name in enumerate(names) if not classes[i]]
    queries, most = cfg.MODEL.DETR.NUM_QUERIES, max(counts)
    over = sum(count > queries for count in counts)
    rows = [
        ("training images", f"{len(records)} of {', '.join(cfg.DATASETS.TRAIN)}"),
        ("objects of each class", ", ".join(listed)),
        ("queries", f"{queries}; at most {most} objects in an image"),
    ]
    if absent:
        rows.append(("WARNING", f"classes without an object to learn from: {', '.join(absent)}"))
    if over:
        rows.append(("WARNING", f"{over} images have more objects than there are queries"))
    return rows


def _memory(device: str) -> str:
    if torch.device(device).type == "cuda":
        used = torch.cuda.max_memory_allocated() / MEGABYTE
        all_of_it = torch.cuda.get_device_properties(device).total_memory / MEGABYTE
        return f"{used:.0f} of {all_of_it:.0f} MB on the GPU with the images of most objects"
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{used:.0f} MB in this process with the images of most objects"


def _schedule_rows(cfg: CfgNode, seconds: float) -> list[Row]:
    solver = cfg.SOLVER
    images = len(training_records(cfg))
    epochs = solver.MAX_ITER * solver.IMS_PER_BATCH / images
    # Of Detectron2's schedules those by steps alone read STEPS.
    by_steps = f"x {solver.GAMMA:g} at {list(solver.STEPS)}"
    falls = by_steps if "MultiStep" in solver.LR_SCHEDULER_NAME else solver.LR_SCHEDULER_NAME
    return [
        (
            "schedule",
            f"{solver.MAX_ITER} iterations of {solver.IMS_PER_BATCH} images, {epochs:.3g} times "
            f"each image; learning rate {solver.BASE_LR:g}, {falls}, warm-up "
            f"{solver.WARMUP_ITERS}",
        ),
        (
            "time",
            f"the first step took {seconds:.2g} s (later ones are faster): at most "
            f"{seconds * solver.MAX_ITER / 3600:.2g} h",
        ),
    ]


def _disk(cfg: CfgNode, size: int, weights: int) -> str:
    """What the files of the training take, and what is free.

    Args:
        size: of a checkpoint, bytes.
        weights: of a file of weights alone, bytes.
    """
    period = cfg.SOLVER.CHECKPOINT_PERIOD or cfg.SOLVER.MAX_ITER + 1
    files = cfg.SOLVER.MAX_ITER // period + 1
    is_best_kept = cfg.TEST.EVAL_PERIOD > 0 and cfg.DATASETS.TEST and cfg.TEST.BEST_BY
    alone = [BEST] * bool(is_best_kept) + [AVERAGE] * cfg.SOLVER.EMA.ENABLED
    # While one of them is replaced it is there twice.
    needed = files * size + (len(alone) + bool(alone)) * weights
    free = os.statvfs(cfg.OUTPUT_DIR)
    room = free.f_bavail * free.f_frsize
    texts = [f"{files} checkpoints of {size / MEGABYTE:.0f} MB"]
    texts += [f"{name} of {weights / MEGABYTE:.0f} MB" for name in alone]
    little = " - TOO LITTLE" if needed > room else ""
    return f"{', '.join(texts)}; {room / MEGABYTE:.0f} MB are free{little}"
