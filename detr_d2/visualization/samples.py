"""Choose a few images of a data set to look at, and show them in an image grid."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from detr_d2.utils.images import read_image
from detr_d2.visualization.grid import image_grid
from detr_d2.visualization.overlay import resize_image
from detr_d2.visualization.palette import Palette
from detr_d2.visualization.records import render_ground_truth

PAIRS_A_ROW = 2
BLANK = 250


class Cell(NamedTuple):
    """One image of a grid: without and with its objects, the classes in it, its caption."""

    image: np.ndarray
    targets: np.ndarray
    classes: set[int]
    caption: str


def cover_classes(classes: Sequence[Collection[int]], count: int) -> list[int]:
    """Choose images that show every class at least once, then further ones spread evenly.

    Args:
        classes: of each image, the classes in it.
        count: images wanted; more are chosen where the classes need more.

    Returns:
        Indices of the images, ascending.
    """
    missing: set[int] = set().union(*classes)
    chosen: set[int] = set()
    while missing:
        # The image with most of what is missing; of several the first.
        best = max(range(len(classes)), key=lambda i: len(missing.intersection(classes[i])))
        chosen.add(best)
        missing.difference_update(classes[best])
    rest = [i for i in range(len(classes)) if i not in chosen]
    wanted = min(max(0, count - len(chosen)), len(rest))
    chosen.update(rest[(2 * k + 1) * len(rest) // (2 * wanted)] for k in range(wanted))
    return sorted(chosen)


def file_cell(record: Mapping[str, Any], palette: Palette, width: int, name: str) -> Cell:
    """An image as it is on disk, beside the ground truth of its record; `name` is its caption."""
    image = read_image(record["file_name"])
    ground_truth = render_ground_truth(image, record, palette, width)
    objects = record["segments_info"] if "segments_info" in record else record["annotations"]
    classes = {one["category_id"] for one in objects}
    caption = f"{name} {image.shape[1]}x{image.shape[0]}"
    return Cell(resize_image(image, width), ground_truth, classes, caption)


def pair_grid(cells: Sequence[Cell], headings: tuple[str, str], palette: Palette) -> np.ndarray:
    """Render two images a row, each beside its objects, and the classes in them."""
    pairs = min(PAIRS_A_ROW, len(cells))
    rows, captions = [], []
    for start in range(0, len(cells), pairs):
        part = cells[start : start + pairs]
        blanks = [np.full_like(cells[0].image, BLANK)] * 2 * (pairs - len(part))
        rows.append([*(picture for cell in part for picture in cell[:2]), *blanks])
        captions.append([*(c for cell in part for c in (cell.caption, "")), *[""] * len(blanks)])
    return image_grid(
        rows,
        headings * pairs,
        palette=palette,
        categories=set().union(*(cell.classes for cell in cells)),
        captions=captions,
    )
