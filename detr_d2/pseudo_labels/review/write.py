"""Draw and write a review: the page, its pictures and a sheet of the worst."""

import heapq
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.pseudo_labels.review.card import Entry
from detr_d2.pseudo_labels.review.item import ReviewItem
from detr_d2.pseudo_labels.review.page import SHEET, Summary, legend, review_page
from detr_d2.pseudo_labels.void_regions import draw_note, draw_void
from detr_d2.utils.files import replacing_folder, write_text
from detr_d2.visualization.overlay import draw_segments, resize_image
from detr_d2.visualization.palette import Palette
from detr_d2.visualization.records import read_image
from detr_d2.visualization.sheet import picture_sheet, save_picture

PAGE, PICTURES = "index.html", "pictures"
COLUMNS = {"image": "image", "custom": "custom masks", "result": "result", "void": "void"}
ROWS_OF_SHEET = 8
# The files are larger than they appear on the page: sharp on fine screens, larger on a click.
ENLARGED = 2
# Behind custom masks the image shows more than in void: what has been forgotten is there.
UNMASKED_ALPHA = 0.4


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
    image (image, custom masks, result, void), and `worst.jpg`, a sheet of the worst eight. An
    earlier review there is replaced when the new one is whole. The same items give the same bytes.

    Args:
        items: of each image; only the `limit` worst are kept in memory.
        folder: of the review.
        custom_palette: names and colours of the classes of the custom masks.
        palette: of the result.
        title: heading of the page.
        width: of a picture on the page, in pixels; the files are twice as wide.
        limit: show this many images at most, those of the lowest score (ties by name).
        progress: called after every image with the number drawn and the number to draw.

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
        entries, rows = [], []
        for number, item in enumerate(worst, start=1):
            image = read_image(item.custom["file_name"])
            drawn = _draw(item, image, custom_palette, palette, ENLARGED * width)
            entries.append(_save(partial, number, item, drawn))
            if number <= ROWS_OF_SHEET:
                small = _draw(item, image, custom_palette, palette, width)
                rows.append(list(small.values()))
            if progress is not None:
                progress(number, len(worst))
        sheet = _sheet(worst[:ROWS_OF_SHEET], rows, summary, custom_palette, palette)
        save_picture(partial / SHEET, sheet)
        write_text(partial / PAGE, review_page(entries, summary, custom_palette, palette))
    return Path(folder) / PAGE


def _check_folder(folder: Path) -> None:
    found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    foreign = sorted(found - {PAGE, PICTURES, SHEET})
    if foreign:
        raise FileExistsError(f"{folder} holds {foreign[:3]}, not a review; choose another folder")


def _select(
    items: Iterable[ReviewItem], title: str, width: int, limit: int
) -> tuple[list[ReviewItem], Summary]:
    """The items of the lowest score, and what is said of all of them."""
    total = with_void = 0

    def counted() -> Iterable[ReviewItem]:
        nonlocal total, with_void
        for item in items:
            total += 1
            with_void += item.void_share > 0
            yield item

    worst = heapq.nsmallest(limit, counted(), key=lambda item: (item.score, item.name))
    return worst, Summary(title, total, with_void, len(worst), width)


def _draw(
    item: ReviewItem, image: np.ndarray, custom_palette: Palette, palette: Palette, width: int
) -> dict[str, np.ndarray]:
    """The pictures of an image by the keys of COLUMNS, all of one size."""
    custom_map, result_map = (_read_map(record) for record in (item.custom, item.labels))
    custom = draw_segments(
        image, custom_map, item.masks, custom_palette, width, void_alpha=UNMASKED_ALPHA
    )
    return {
        "image": resize_image(image, width),
        "custom": custom if item.masks else draw_note(custom, "no custom masks"),
        "result": draw_segments(image, result_map, item.segments, palette, width),
        "void": draw_void(image, result_map, item.segments, width),
    }


def _read_map(record: Mapping[str, Any]) -> np.ndarray:
    return read_ids(record["pan_seg_file_name"])


def _save(folder: Path, number: int, item: ReviewItem, drawn: dict[str, np.ndarray]) -> Entry:
    files = {key: f"{PICTURES}/{number:04}-{key}.jpg" for key in drawn}
    for key, picture in drawn.items():
        save_picture(folder / files[key], picture)
    height, width = drawn["image"].shape[:2]
    return Entry(number, item, files, (width, height))


def _sheet(
    worst: list[ReviewItem],
    rows: list[list[np.ndarray]],
    summary: Summary,
    custom_palette: Palette,
    palette: Palette,
) -> np.ndarray:
    """Images in rows, with the classes of both palettes that occur in them."""
    classes = legend(worst, custom_palette, palette)
    return picture_sheet(
        rows,
        list(COLUMNS.values()),
        palette=Palette([name for name, _ in classes], [color for _, color in classes]),
        categories=range(len(classes)),
        captions=[f"{i.shown_name}: worst score {i.score:.2f}, {i.void_text}" for i in worst],
        title=f"{summary.title}: the {len(worst)} worst of {summary.total:,}",
    )
