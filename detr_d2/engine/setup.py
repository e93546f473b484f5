"""The start of a job: logging, seed, and a record of what was run, kept beside the weights."""

import argparse
import logging
import os
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from detr_d2.engine.randomness import derive_seed, fix_seed, seed_generators
from detr_d2.engine.training_folder import CATEGORIES, CONFIG, registered_categories
from detr_d2.utils.files import write_json, write_text

LOGGERS = ("fvcore", "detectron2", "detr_d2")


def setup_job(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Do what Detectron2's `default_setup` does, for this package's logger too.

    Writes `config.yaml`, `environment.txt` and, if a data set knows them, `categories.json`
    (COCO-panoptic entries, with which tools/demo.py runs without the data set) to OUTPUT_DIR.
    The config there has the number of classes and the things in it.
    A negative SEED is replaced by a random one; on a CPU each process gets its share of the cores.
    """
    fix_seed(cfg)
    rank = comm.get_rank()
    if comm.is_main_process():
        os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
    for name in LOGGERS:
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name=name)
    logger = logging.getLogger(__name__)
    environment = describe_environment()
    logger.info("Process %d of %d. Arguments: %s", rank, comm.get_world_size(), args)
    logger.info("SEED %d: the same seed gives the same training", cfg.SEED)
    logger.info("Environment:\n%s", environment)
    if comm.is_main_process():
        categories = registered_categories([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
        text = _with_classes(cfg, categories).dump()
        write_text(os.path.join(cfg.OUTPUT_DIR, CONFIG), text)
        write_text(os.path.join(cfg.OUTPUT_DIR, "environment.txt"), environment + "\n")
        if categories:
            write_json(os.path.join(cfg.OUTPUT_DIR, CATEGORIES), categories, indent=1)
    seed_generators(derive_seed(cfg.SEED, rank))
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    share_cores(cfg.MODEL.DEVICE)


def _with_classes(cfg: CfgNode, categories: list[dict[str, Any]]) -> CfgNode:
    """Note the classes in a copy, so that the model can be built without a registered data set."""
    copy = cfg.clone()
    copy.defrost()
    if categories:
        copy.MODEL.DETR.NUM_CLASSES = len(categories)
        copy.MODEL.DETR.THING_IDS = [i for i, c in enumerate(categories) if c["isthing"]]
    return copy


def share_cores(device: str) -> None:
    """On a CPU, let each process of this machine have its share of the cores."""
    if comm.get_local_size() > 1 and device == "cpu":
        # Every process would start a thread per core and they would wait for each other.
        torch.set_num_threads(max(1, torch.get_num_threads() // comm.get_local_size()))


def describe_environment() -> str:
    """Versions of everything that matters, as Detectron2 collects them."""
    try:
        # It imports torch's extension builder, which wants setuptools and a compiler.
        from detectron2.utils.collect_env import collect_env_info

        return collect_env_info()
    except (ImportError, OSError, RuntimeError) as error:
        return f"torch {torch.__version__}; Detectron2 could not collect more: {error}"
