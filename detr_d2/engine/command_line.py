"""Shared by the command-line tools: options for data sets, configs, and KEY VALUE pairs."""

import argparse
import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from detr_d2 import model_zoo
from detr_d2.engine.training_folder import best_weights, find_config
from detr_d2.register import register_dataset
from detr_d2.utils.device import use_available_device

CONFIG_HELP = "a YAML file, a name of the model zoo, or the folder of a training"


class ToolParser(argparse.ArgumentParser):
    """An argument parser whose last arguments are KEY VALUE pairs for the config, in `opts`.

    argparse alone would give the pairs to an option before them that takes any number of values.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_argument(
            "opts", nargs="*", metavar="KEY VALUE", help="pairs that change the config, at the end"
        )

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Cut the pairs off, parse the rest, and put the pairs into `opts`."""
        words = list(sys.argv[1:] if args is None else args)
        start = first_pair(words)
        known, unknown = super().parse_known_args(words[:start], namespace)
        if known.opts:
            self.error(
                f"{' '.join(known.opts)}: neither an option nor a KEY VALUE pair of a config"
            )
        known.opts = words[start:]
        return known, unknown


def first_pair(words: Sequence[str]) -> int:
    """Index at which the KEY VALUE pairs at the end begin; the number of words without any.

    A key is the name of a key or of a section of the config, after which anything may follow:
    "MODEL.DEVICE", "SEED", and "MODEL.DEVCIE" too, which the config then rejects.
    """
    cfg = model_zoo.read_config()
    sections = "|".join(key for key, value in cfg.items() if isinstance(value, CfgNode))
    keys = "|".join(key for key, value in cfg.items() if not isinstance(value, CfgNode))
    key = re.compile(rf"({sections})(\.[A-Za-z0-9_]+)+|{keys}")
    for start in range(len(words)):
        if (len(words) - start) % 2 == 0 and all(key.fullmatch(w) for w in words[start::2]):
            return start
    return len(words)


def add_dataset_option(parser: argparse.ArgumentParser) -> None:
    """Add --dataset and --register, which may be given several times."""
    parser.add_argument(
        "--dataset",
        action="append",
        nargs=4,
        default=[],
        metavar=("NAME", "IMAGE_ROOT", "PANOPTIC_ROOT", "PANOPTIC_JSON"),
        help="register a COCO-panoptic data set under NAME, for DATASETS.TRAIN and DATASETS.TEST; "
        "may be given several times",
    )
    add_register_option(parser)


def add_register_option(parser: argparse.ArgumentParser) -> None:
    """Add --register, which may be given several times."""
    parser.add_argument(
        "--register",
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file of yours to run first: it registers data sets, mask heads, mappers",
    )


def register_datasets(args: argparse.Namespace) -> None:
    """Carry out --register and then --dataset; to be called in every process."""
    for path in args.register:
        runpy.run_path(path)
    for name, image_root, panoptic_root, panoptic_json in args.dataset:
        register_dataset(
            name, image_root=image_root, panoptic_root=panoptic_root, panoptic_json=panoptic_json
        )


def read_config(config_file: str, opts: Sequence[str] = ()) -> CfgNode:
    """Read a config that no model will run with: its device is left as it is.

    Args:
        config_file: a YAML file, a training folder, or a name of the model zoo; "" reads none.
        opts: KEY VALUE pairs, which win.

    Returns:
        Detectron2's and our defaults, the file, and the pairs. Not yet frozen.

    Raises:
        ValueError: there is no such config.
    """
    cfg = model_zoo.read_config(find_config(config_file) if config_file else "")
    cfg.merge_from_list(list(opts))
    return cfg


def load_config(config_file: str, opts: Sequence[str] = (), best: bool = False) -> CfgNode:
    """Read a config to run its model: MODEL.DEVICE becomes a device that is there.

    Args:
        config_file: as `read_config` has it.
        opts: KEY VALUE pairs, which win.
        best: where `config_file` is a training folder, take its best weights unless `opts` have
            MODEL.WEIGHTS; False leaves those that the training started from.

    Raises:
        ValueError: there is no such config, no weights in the folder, or no such device.
    """
    cfg = read_config(config_file, opts)
    if best and Path(config_file).is_dir() and "MODEL.WEIGHTS" not in opts[::2]:
        cfg.MODEL.WEIGHTS = best_weights(config_file)
    use_available_device(cfg, asked=cfg.MODEL.DEVICE if "MODEL.DEVICE" in opts[::2] else None)
    return cfg
