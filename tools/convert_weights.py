"""Convert DETR weights between layouts, without changing a bit of them.

python tools/convert_weights.py detr-r50-panoptic-00ce5173.pth ours.pth --to detr_d2
python tools/convert_weights.py output/mine/model_final.pth folder --to hugging-face \
    --config-file output/mine/config.yaml
"""

import argparse
import sys
from pathlib import Path

from detr_d2.checkpoint import WeightsError, open_weights
from detr_d2.checkpoint.checkpointer import save_weights
from detr_d2.checkpoint.hugging_face import (
    Architecture,
    image_preparation,
    write_hugging_face,
)
from detr_d2.checkpoint.layouts import OURS, Weights
from detr_d2.checkpoint.writing import ours_content, write_original
from detr_d2.engine import registered_categories, use_model_categories
from detr_d2.engine.command_line import read_config
from detr_d2.utils.files import read_json, reject_overwriting

TARGETS = ("detr_d2", "original", "hugging-face")


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", help="file, Hugging Face folder or URL, of any known layout")
    parser.add_argument("output", help="file, or folder for --to hugging-face")
    parser.add_argument("--to", required=True, choices=TARGETS)
    parser.add_argument(
        "--config-file",
        metavar="CONFIG",
        help="config of the model (YAML, training folder, name of the zoo), for what weights "
        "do not tell: sizes and statistics of images, stuff, heads, dilation (DC5)",
    )
    parser.add_argument(
        "--backbone",
        choices=("timm", "transformers"),
        default="timm",
        help="whose ResNet the Hugging Face folder uses (default: timm, as published)",
    )
    return parser


def to_hugging_face(args: argparse.Namespace, weights: Weights) -> None:
    """Write the folder: what weights do not tell comes from the config, else as published.

    Raises:
        WeightsError: our own weights without a config, or see `write_hugging_face`.
    """
    if not args.config_file:
        if weights.layout == OURS.name:
            raise WeightsError(
                f"{args.weights} was trained here: sizes and statistics of its images, heads and "
                "stuff are in its config; give --config-file"
            )
        settings, beside = weights.settings, Path(args.weights, "preprocessor_config.json")
        nheads = settings.get("MODEL.DETR.NHEADS", 8)
        dilation = settings.get("MODEL.RESNETS.RES5_DILATION", 1)
        preparation = read_json(beside) if beside.is_file() else None
        categories = []
    else:
        cfg = read_config(args.config_file)
        nheads, dilation = cfg.MODEL.DETR.NHEADS, cfg.MODEL.RESNETS.RES5_DILATION
        preparation = image_preparation(cfg)
        table = use_model_categories(cfg, args.config_file)
        categories = table.to_json() if table else registered_categories(cfg.DATASETS.TEST)
        if not categories:
            print("classes: the config knows no categories, so which are stuff is not stored")
    architecture = Architecture(nheads=nheads, dilated=dilation == 2)
    write_hugging_face(args.output, weights, architecture, args.backbone, preparation, categories)


def main(args: argparse.Namespace) -> int:
    """Convert; returns the exit status."""
    try:
        reject_overwriting([args.weights], [args.output])
        weights = open_weights(args.weights)
        if args.to == "detr_d2":
            save_weights(args.output, ours_content(weights))
        elif args.to == "original":
            write_original(args.output, weights)
        else:
            to_hugging_face(args, weights)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{weights.layout}: {len(weights.tensors)} tensors to {args.output} ({args.to})")
    for name in weights.unknown:
        print(f"skipped, DETR has no place for it: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(argument_parser().parse_args()))
