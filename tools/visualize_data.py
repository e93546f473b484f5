"""Show what the data loader really feeds: images as augmented, with masks, boxes and class names.

python tools/visualize_data.py --config-file configs/... --dataset NAME IMAGES PNGS JSON \
    --output output/data.png DATASETS.TRAIN "('NAME',)"
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from typing import Any

from detr_d2.engine import DetrTrainer, command_line
from detr_d2.visualization import (
    Palette,
    image_grid,
    read_image,
    render_ground_truth,
    render_targets,
    resize_image,
    save_picture,
)

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.utils.env import seed_all_rng

PAIRS_A_ROW = 2


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
    parser.add_argument("--count", type=int, default=8, help="number of images")
    parser.add_argument("--width", type=int, default=360, help="width of each picture, pixels")
    parser.add_argument("--output", default="output/data.png", help="the image grid, PNG or JPEG")
    command_line.add_dataset_option(parser)
    return parser


def loader_pictures(cfg: CfgNode, width: int) -> Iterator[tuple[np.ndarray, np.ndarray, set[int]]]:
    """Fed image, image with targets, classes in it; without end."""
    loader = DetrTrainer.build_train_loader(cfg)
    # Only now: some sets know their classes after loading.
    palette = Palette.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    for batch in loader:
        for image in batch:
            pixels = convert_image_to_rgb(image["image"].permute(1, 2, 0), cfg.INPUT.FORMAT)
            targets = render_targets(pixels, image["instances"], palette, width)
            yield resize_image(pixels, width), targets, set(image["instances"].gt_classes.tolist())


def record_pictures(cfg: CfgNode, width: int) -> Iterator[tuple[np.ndarray, np.ndarray, set[int]]]:
    """Image, image with ground truth, classes in it, for every record."""
    for name in cfg.DATASETS.TRAIN:
        records = DatasetCatalog.get(name)
        palette = Palette.from_metadata(MetadataCatalog.get(name))
        for record in records:
            image = read_image(record["file_name"])
            ground_truth = render_ground_truth(image, record, palette, width)
            objects = record.get("segments_info") or record.get("annotations", [])
            categories = {one["category_id"] for one in objects}
            yield resize_image(image, width), ground_truth, categories


def make_grid(cfg: CfgNode, args: argparse.Namespace) -> np.ndarray:
    """Two images a row, each beside its targets."""
    pictures = loader_pictures if args.source == "loader" else record_pictures
    shown: list[Any] = list(itertools.islice(pictures(cfg, args.width), args.count))
    if not shown:
        raise ValueError(f"--count {args.count}: nothing to show")
    cells = [picture for image, targets, _ in shown for picture in (image, targets)]
    columns = min(PAIRS_A_ROW, len(shown)) * 2
    while len(cells) % columns:
        cells.append(np.full_like(cells[-1], 250))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    headings = ["fed" if args.source == "loader" else "image", "targets"] * (columns // 2)
    palette = Palette.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    categories = set().union(*(found for _, _, found in shown))
    return image_grid(rows, headings, palette=palette, categories=categories)


def main(args: argparse.Namespace) -> None:
    """Render the image grid and write it."""
    command_line.register_datasets(args)
    cfg = command_line.read_config(args.config_file, args.opts)
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED)
    save_picture(args.output, make_grid(cfg, args))
    print(f"{args.output}: {args.count} images")


if __name__ == "__main__":
    try:
        main(argument_parser().parse_args())
    except (OSError, ValueError) as error:
        sys.exit(f"visualize_data.py: {error}")
