"""Explain a trained model on an image: a page to click through, and pictures for slides.

python tools/explain.py --config-file output/mine --input image.jpg --output explain.html
"""

import argparse
import sys
from pathlib import Path

from detr_d2.engine import command_line
from detr_d2.explanation.explain import explain_image, write_page
from detr_d2.explanation.pictures import STEPS, write_pictures
from detr_d2.utils.files import reject_overwriting


def argument_parser() -> argparse.ArgumentParser:
    """Return the tool's arguments."""
    parser = command_line.ToolParser(description="Explain a trained model on an image.")
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="FILE",
        help=command_line.CONFIG_HELP,
    )
    parser.add_argument("--input", required=True, metavar="IMAGE")
    parser.add_argument("--output", required=True, metavar="HTML", help="the page to write")
    parser.add_argument("--pictures", metavar="DIR", help="write the steps as PNG files there, too")
    return parser


def main(args: argparse.Namespace) -> int:
    """Write page and pictures; returns the exit status."""
    if not Path(args.input).is_file():
        raise ValueError(f"--input {args.input}: no such file; give one image")
    files = [args.output]
    files += [Path(args.pictures, f"{name}.png") for name in STEPS] if args.pictures else []
    reject_overwriting([args.input, args.config_file], files)
    recorded = explain_image(args.config_file, args.input, args.opts)
    payload = write_page(recorded, args.output)
    size = Path(args.output).stat().st_size
    print(f"{args.output}: {size / 1e6:.1f} MB, {len(payload.meta['followed'])} queries in detail")
    if args.pictures:
        written = write_pictures(recorded, payload, args.pictures)
        print(f"{args.pictures}: {len(written)} pictures")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(argument_parser().parse_args()))
    except (OSError, ValueError) as error:
        sys.exit(f"explain.py: {error}")
