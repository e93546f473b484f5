"""Convert DETR weights between layouts, without changing a bit of them.

python tools/convert_weights.py detr-r50-panoptic-00ce5173.pth ours.pth --to detr_d2
python tools/convert_weights.py output/mine/model_final.pth folder --to hugging-face \
    --config-file output/mine/config.yaml
"""

import argparse
import sys

from detr_d2.checkpoint import WeightsError, open_weights
from detr_d2.checkpoint.checkpointer import save_weights
from detr_d2.checkpoint.writing import (
    Architecture,
    ours_content,
    write_hugging_face,
    write_original,
)
from detr_d2.engine.command_line import read_config

TARGETS = ("detr_d2", "original", "hugging-face")


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", help="file, Hugging Face folder or URL, of any known layout")
    parser.add_argument("output", help="file, or folder for --to hugging-face")
    parser.add_argument("--to", required=True, choices=TARGETS)
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        help="config of the model, for what weights do not tell: heads and dilation (DC5)",
    )
    parser.add_argument(
        "--backbone",
        choices=("timm", "transformers"),
        default="timm",
        help="whose ResNet the Hugging Face folder uses (default: timm, as published)",
    )
    return parser


def architecture_of(settings: dict, config_file: str | None) -> Architecture:
    """Heads and dilation by the config, else by what the source says, else as published."""
    if config_file:
        cfg = read_config(config_file)
        nheads, dilation = cfg.MODEL.DETR.NHEADS, cfg.MODEL.RESNETS.RES5_DILATION
    else:
        nheads = settings.get("MODEL.DETR.NHEADS", 8)
        dilation = settings.get("MODEL.RESNETS.RES5_DILATION", 1)
    return Architecture(nheads=nheads, dilated=dilation == 2)


def main(args: argparse.Namespace) -> int:
    """Convert; returns the exit status."""
    try:
        weights = open_weights(args.weights)
        if args.to == "detr_d2":
            save_weights(args.output, ours_content(weights))
        elif args.to == "original":
            write_original(args.output, weights)
        else:
            architecture = architecture_of(weights.settings, args.config_file)
            write_hugging_face(args.output, weights, architecture, args.backbone)
    except (WeightsError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{weights.layout}: {len(weights.tensors)} tensors to {args.output} ({args.to})")
    for name in weights.unknown:
        print(f"skipped, DETR has no place for it: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(argument_parser().parse_args()))
