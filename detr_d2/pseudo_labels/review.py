"""Write a review of automatic labels: the page, its pictures and an image grid of the worst."""

import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detr_d2.data.categories import CategoryTable
from detr_d2.pseudo_labels.label_images import LabelTask
from detr_d2.pseudo_labels.review_item import COLUMNS, ReviewItem, render_item
from detr_d2.pseudo_labels.review_page import WORST, Entry, Summary, legend, review_page
from detr_d2.utils.files import write_text
from detr_d2.utils.partial_folder import replacing_folder
from detr_d2.visualization import Palette, image_grid, read_image, save_picture

PAGE, PICTURES = "index.html", "pictures"
ROWS_OF_GRID = 8
# The files are larger than they appear on the page: sharp on fine screens, larger on a click.
ENLARGED = 2


def review_labels(
    folder: Path,
    lines: Iterator[tuple[LabelTask, Mapping[str, Any]]],
    custom: CategoryTable,
    table: CategoryTable,
    limit: int,
) -> Path:
    """Write `review/` into the folder of the labels: pictures and `index.html`, the worst first.

    Args:
        folder: with `images/` and `panoptic/`.
        lines: the images and their lines of the journals.
        custom: the classes of the custom masks.
        table: the classes of the labels.
        limit: how many images it shows.
    """
    return write_review(
        (_item(folder, image, line, table) for image, line in lines),
        folder / "review",
        custom_palette=Palette.from_categories(custom.categories),
        palette=Palette.from_categories(table.categories),
        title="Labels to look at",
        limit=limit,
    )


def _item(
    folder: Path, image: LabelTask, line: Mapping[str, Any], table: CategoryTable
) -> ReviewItem:
    info = line["annotation"]["segments_info"]
    segments = []
    for segment in info:
        index = table.contiguous_ids[segment["category_id"]]
        isthing = table.categories[index].isthing
        segments.append({**segment, "category_id": index, "isthing": isthing})
    labels = {
        "file_name": str(folder / "images" / image.name),
        "pan_seg_file_name": str(folder / "panoptic" / image.png),
        "segments_info": segments,
    }
    pixels = line["pixels"]
    return ReviewItem(
        name=image.name,
        custom=image.record,
        labels=labels,
        score=worst_score(info),
        void_share=pixels["void"] / sum(pixels.values()),
    )


def worst_score(segments: Iterable[Mapping[str, Any]]) -> float:
    """The lowest score of an image's segments; 1 where the model gave none."""
    scores = [s["provenance"]["score"] for s in segments]
    return min((score for score in scores if score is not None), default=1.0)


def write_review(
    items: Iterable[ReviewItem],
    folder: str | os.PathLike[str],
    *,
    custom_palette: Palette,
    palette: Palette,
    title: str,
    width: int = 360,
    limit: int = 200,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a page by which people look at automatic labels before they train on them.

    FOLDER gets `index.html` (needs nothing from outside), `pictures/` with four pictures of each
    image (image, custom masks, result, void), and `worst.jpg`, an image grid of the worst eight. An
    earlier review there is replaced when the new one is whole. The same items give the same bytes.

    Args:
        items: of each image; only the `limit` worst are kept in memory.
        folder: of the review.
        custom_palette: names and colours of the classes of the custom masks.
        palette: of the result.
        title: heading of the page.
        width: of a picture on the page, in pixels; the files are twice as wide.
        limit: show this many images at most, those of the lowest score (ties by name).
        progress: called after every image with the number rendered and the number to render.

    Returns:
        The path of the page.

    Raises:
        FileExistsError: the folder holds something that is not of a review.
        OSError: an image or map cannot be read, or the review cannot be written.
        ValueError: no items, or `width` or `limit` is out of range.
    """
    if width < 60 or limit < 1:
        raise ValueError(f"width {width}, limit {limit}; allowed: 60 or more, 1 or more")
    _check_folder(Path(folder))
    worst, summary = _select(items, title, width, limit)
    if not worst:
        raise ValueError("no image to review")
    with replacing_folder(folder) as partial:
        _write_files(partial, worst, summary, custom_palette, palette, progress)
    return Path(folder) / PAGE


def _write_files(
    folder: Path,
    worst: list[ReviewItem],
    summary: Summary,
    custom_palette: Palette,
    palette: Palette,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the page, its pictures and the image grid."""
    entries, rows = [], []
    for number, item in enumerate(worst, start=1):
        image = read_image(item.custom["file_name"])
        rendered = render_item(item, image, custom_palette, palette, ENLARGED * summary.width)
        entries.append(_save(folder, number, item, rendered))
        if number <= ROWS_OF_GRID:
            small = render_item(item, image, custom_palette, palette, summary.width)
            rows.append(list(small.values()))
        if progress is not None:
            progress(number, len(worst))
    grid = _grid(worst[:ROWS_OF_GRID], rows, summary, custom_palette, palette)
    save_picture(folder / WORST, grid)
    write_text(folder / PAGE, review_page(entries, summary, custom_palette, palette))


def _check_folder(folder: Path) -> None:
    found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    foreign = sorted(found - {PAGE, PICTURES, WORST})
    if foreign:
        raise FileExistsError(f"{folder} holds {foreign[:3]}, not a review; choose another folder")


def _select(
    items: Iterable[ReviewItem], title: str, width: int, limit: int
) -> tuple[list[ReviewItem], Summary]:
    """The items of the lowest score, and the numbers of all of them."""
    total = with_void = 0

    def counted() -> Iterable[ReviewItem]:
        nonlocal total, with_void
        for item in items:
            total += 1
            with_void += item.void_share > 0
            yield item

    worst = heapq.nsmallest(limit, counted(), key=lambda item: (item.score, item.name))
    return worst, Summary(title, total, with_void, len(worst), width)


def _save(folder: Path, number: int, item: ReviewItem, rendered: dict[str, np.ndarray]) -> Entry:
    files = {key: f"{PICTURES}/{number:04}-{key}.jpg" for key in rendered}
    for key, picture in rendered.items():
        save_picture(folder / files[key], picture)
    height, width = rendered["image"].shape[:2]
    return Entry(number, item, files, (width, height))


def _grid(
    worst: list[ReviewItem],
    rows: list[list[np.ndarray]],
    summary: Summary,
    custom_palette: Palette,
    palette: Palette,
) -> np.ndarray:
    """Images in rows, with the classes of both palettes that occur in them."""
    classes = legend(worst, custom_palette, palette)
    return image_grid(
        rows,
        list(COLUMNS.values()),
        palette=Palette([name for name, _ in classes], [color for _, color in classes]),
        categories=range(len(classes)),
        captions=[f"{i.shown_name}: worst score {i.score:.2f}, {i.void_text}" for i in worst],
        title=f"{summary.title}: the {len(worst)} worst of {summary.total:,}",
    )
