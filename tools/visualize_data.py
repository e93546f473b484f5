"""Show what the data loader really feeds: images as augmented, with masks, boxes and class names.

python tools/visualize_data.py --config-file configs/... --dataset NAME IMAGES PNGS JSON \
    --output output/data.png DATASETS.TRAIN "('NAME',)"
"""

import argparse
import sys
from typing import Any

from detr_d2.data.categories import check_same_classes
from detr_d2.data.mapper import DetrMapper
from detr_d2.engine import command_line
from detr_d2.engine.training_records import objects_of, training_records
from detr_d2.utils.files import reject_overwriting
from detr_d2.visualization import (
    Palette,
    render_targets,
    resize_image,
    save_picture,
)
from detr_d2.visualization.samples import Cell, cover_classes, file_cell, pair_grid

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.utils.env import seed_all_rng
from tqdm import tqdm

# Random crops of one image, of which the one with most classes is shown.
TRIES = 8


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments."""
    parser = command_line.ToolParser(description="Show what the data loader really feeds.")
    parser.add_argument(
        "--config-file", default="", metavar="CONFIG", help=command_line.CONFIG_HELP
    )
    parser.add_argument(
        "--source",
        choices=("loader", "records"),
        default="loader",
        help="loader: images and targets as training gets them; records: files as registered",
    )
    parser.add_argument(
        "--count", type=int, default=8, help="images; more where the classes need more to be seen"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--width", type=int, default=360, help="width of each picture, pixels")
    parser.add_argument("--output", default="output/data.png", help="the image grid, PNG or JPEG")
    command_line.add_dataset_option(parser)
    return parser


def choose_records(cfg: CfgNode, count: int, output: str) -> list[dict[str, Any]]:
    """Images that show every class that occurs, and further ones up to `count`.

    Raises:
        ValueError: there is nothing to show, the sets differ in their classes, or `output` is a
            file of theirs.
    """
    records = training_records(cfg)
    files = [r[key] for r in records for key in ("file_name", "pan_seg_file_name") if key in r]
    reject_overwriting(files, [output])
    # After loading, since some sets know their classes only then.
    check_same_classes(cfg.DATASETS.TRAIN)
    classes = [{one["category_id"] for one in objects_of(record)} for record in records]
    return [records[i] for i in cover_classes(classes, count)] if count > 0 else []


def fed_cell(record: dict[str, Any], cfg: CfgNode, palette: Palette, width: int) -> Cell:
    """An image as training gets it.

    A crop may take a class away: of a few tries the one that shows most classes is taken.
    """
    mapper = DetrMapper(cfg, is_train=True)
    tries = [mapper(record) for _ in range(TRIES if cfg.INPUT.CROP.ENABLED else 1)]
    fed = max(tries, key=lambda one: len(set(one["instances"].gt_classes.tolist())))
    pixels = convert_image_to_rgb(fed["image"].permute(1, 2, 0), cfg.INPUT.FORMAT)
    targets = render_targets(pixels, fed["instances"], palette, width)
    classes = set(fed["instances"].gt_classes.tolist())
    caption = f"{record['file_name']} {pixels.shape[1]}x{pixels.shape[0]}"
    return Cell(resize_image(pixels, width), targets, classes, caption)


def make_grid(cfg: CfgNode, args: argparse.Namespace) -> tuple[np.ndarray, int]:
    """Two images a row, each beside its targets; the grid and the number of images."""
    records = choose_records(cfg, args.count, args.output)
    if not records:
        raise ValueError(f"--count {args.count}: nothing to show")
    palette = Palette.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    fed = args.source == "loader"
    cells = []
    for record in tqdm(records, unit=" images", disable=args.quiet or None):
        if fed:
            cells.append(fed_cell(record, cfg, palette, args.width))
        else:
            cells.append(file_cell(record, palette, args.width, record["file_name"]))
    headings = ("fed" if fed else "image", "targets")
    return pair_grid(cells, headings, palette), len(cells)


def main(args: argparse.Namespace) -> None:
    """Render the image grid and write it."""
    command_line.register_datasets(args)
    cfg = command_line.read_config(args.config_file, args.opts)
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED)
    grid, count = make_grid(cfg, args)
    save_picture(args.output, grid)
    print(f"{args.output}: {count} images")


if __name__ == "__main__":
    try:
        main(argument_parser().parse_args())
    except (OSError, ValueError) as error:
        sys.exit(f"visualize_data.py: {error}")
