"""One picture of a training: its losses, and predictions beside the ground truth.

python tools/plot_training.py output/mine/boxes output/mine/panoptic --output output/training.png \
    --compare unseen mine/panoptic_val mine/panoptic_val.json output/found
"""

import argparse
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import read_panoptic_json
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.utils.files import path_below, reject_overwriting, replacing
from detr_d2.visualization import Palette, image_grid, render_segments
from detr_d2.visualization.grid import PAPER
from detr_d2.visualization.training_curves import (
    PLOT_WIDTH,
    plot_losses,
    stack_pictures,
)

import numpy as np
from PIL import Image
from tqdm import tqdm

# As demo.py --coco-panoptic calls them.
JSON, PNGS = "panoptic.json", "panoptic"


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="OUTPUT_DIR of each stage, in order"
    )
    parser.add_argument(
        "--compare",
        action="append",
        nargs=4,
        default=[],
        metavar=("HEADING", "PNGS", "JSON", "FOUND"),
        help="a COCO-panoptic set and what demo.py --coco-panoptic has found in its images; "
        "may be given several times",
    )
    parser.add_argument("--count", type=int, default=4, help="maps of each set, spread evenly")
    parser.add_argument("--width", type=int, default=220, help="width of each map, pixels")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--output", default="output/training.png", help="the picture, PNG")
    return parser


def read_maps(pngs: Path, panoptic_json: Path) -> dict[str, dict[str, Any]]:
    """Path of the PNG and entries of the segments, by the image's name, in the JSON's order."""
    content = read_panoptic_json(panoptic_json)
    names = {image["id"]: image["file_name"] for image in content["images"]}
    return {
        names[entry["image_id"]]: {
            "png": path_below(pngs, entry["file_name"]),
            "segments_info": entry["segments_info"],
        }
        for entry in content["annotations"]
    }


def render_map(entry: dict[str, Any], table: CategoryTable, width: int) -> np.ndarray:
    """The segments of one PNG, `width` pixels wide, on white."""
    id_map = read_ids(entry["png"])
    indices = [table.contiguous_ids[segment["category_id"]] for segment in entry["segments_info"]]
    segments = [
        {"id": segment["id"], "category_id": i, "isthing": table.categories[i].isthing}
        for i, segment in zip(indices, entry["segments_info"], strict=True)
    ]
    white = np.full((*id_map.shape, 3), 255, np.uint8)
    return render_segments(
        white, id_map, segments, Palette.from_categories(table.categories), width
    )


def render_pairs(
    pngs: Path, panoptic_json: Path, found: Path, table: CategoryTable, args: argparse.Namespace
) -> list[list[np.ndarray]]:
    """Ground truth and prediction of up to `args.count` images of a set, spread evenly over it.

    Raises:
        ValueError: one of the images is absent from what was found, or there is nothing to show.
    """
    ground_truth = read_maps(pngs, panoptic_json)
    predicted = read_maps(found / PNGS, found / JSON)
    pngs_read = [entry["png"] for maps in (ground_truth, predicted) for entry in maps.values()]
    reject_overwriting(pngs_read, [args.output])
    names = list(ground_truth)
    wanted = np.linspace(0, len(names) - 1, min(args.count, len(names))).round().astype(int)
    if not len(wanted):
        raise ValueError(f"{panoptic_json}: nothing to show with --count {args.count}")
    pairs = []
    quiet = args.quiet or None
    for name in tqdm([names[i] for i in wanted], str(found), unit=" images", disable=quiet):
        if name not in predicted:
            raise ValueError(
                f"{found / JSON}: no image {name!r}, which {panoptic_json} has; run "
                f"demo.py on the set's folder of images; there are {sorted(predicted)[:3]} ..."
            )
        pairs.append(
            [render_map(maps[name], table, args.width) for maps in (ground_truth, predicted)]
        )
    return pairs


def render_comparisons(args: argparse.Namespace) -> np.ndarray:
    """An image grid with two columns for each set, ground truth and prediction.

    Raises:
        ValueError: the files differ in their categories.
    """
    paths = [
        Path(p)
        for _, _, ground_truth, found in args.compare
        for p in (ground_truth, f"{found}/{JSON}")
    ]
    tables = [CategoryTable(read_panoptic_json(path)["categories"], str(path)) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table != tables[0]:
            raise ValueError(f"{path}: its categories are not those of {paths[0]}")
    columns: list[list[np.ndarray]] = []
    headings: list[str] = []
    for heading, pngs, panoptic_json, found in args.compare:
        pairs = render_pairs(Path(pngs), Path(panoptic_json), Path(found), tables[0], args)
        columns += [list(column) for column in zip(*pairs, strict=True)]
        headings += [f"{heading}: ground truth", "found"]
    blank = np.full((1, args.width, 3), PAPER, np.uint8)
    rows = list(zip_longest(*columns, fillvalue=blank))
    palette = Palette.from_categories(tables[0].categories)
    return image_grid(rows, headings, palette=palette, categories=range(len(palette.names)))


def main(args: argparse.Namespace) -> None:
    """Render the picture and write it."""
    inputs = [folder / "metrics.json" for folder in args.folders]
    for _, _, panoptic_json, found in args.compare:
        inputs += [Path(panoptic_json), Path(found, JSON)]
    reject_overwriting(inputs, [args.output])
    parts = [render_comparisons(args)] if args.compare else []
    width = max([PLOT_WIDTH * len(args.folders), *(part.shape[1] for part in parts)])
    picture = stack_pictures([plot_losses(args.folders, width), *parts])
    with replacing(args.output) as temporary:
        # Flat colours, not a photograph: 256 colours are enough, and the file is a third as large.
        Image.fromarray(picture).quantize(256).save(temporary)
    print(args.output)


if __name__ == "__main__":
    try:
        main(argument_parser().parse_args())
    except (OSError, ValueError) as error:
        sys.exit(f"plot_training.py: {error}")
