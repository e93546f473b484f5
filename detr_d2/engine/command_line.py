"""What the command-line tools share: data sets by option, config from file and KEY VALUE pairs."""

import argparse
from collections.abc import Sequence

from detectron2.config import CfgNode, get_cfg

from detr_d2.config import add_detr_config
from detr_d2.data.register import register_dataset


def add_dataset_option(parser: argparse.ArgumentParser) -> None:
    """Add --dataset, which may be given several times."""
    parser.add_argument(
        "--dataset",
        action="append",
        nargs=4,
        default=[],
        metavar=("NAME", "IMAGE_ROOT", "PANOPTIC_ROOT", "PANOPTIC_JSON"),
        help="register a COCO-panoptic data set under NAME, for DATASETS.TRAIN and DATASETS.TEST; "
        "may be given several times",
    )


def register_datasets(datasets: Sequence[Sequence[str]]) -> None:
    """Register what --dataset gave; to be called in every process."""
    for name, image_root, panoptic_root, panoptic_json in datasets:
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
