"""What the command-line tools share: data sets by option, config from file and KEY VALUE pairs."""

import argparse
import runpy
from collections.abc import Sequence

from detectron2.config import CfgNode, get_cfg

from detr_d2.config import add_detr_config
from detr_d2.register import register_dataset


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


def load_config(config_file: str, opts: Sequence[str]) -> CfgNode:
    """Detectron2's and our defaults, then the file, then KEY VALUE pairs. Not yet frozen."""
    cfg = get_cfg()
    add_detr_config(cfg)
    if config_file:
        cfg.merge_from_file(config_file)
    cfg.merge_from_list(list(opts))
    return cfg
