"""What people look at before they train on automatic labels."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detr_d2.data.categories import CategoryTable
from detr_d2.pseudo_labels.images import LabelTask
from detr_d2.pseudo_labels.review import ReviewItem, write_review
from detr_d2.visualization import Palette

Entry = Mapping[str, Any]


def review_labels(
    folder: Path,
    entries: Iterator[tuple[LabelTask, Entry]],
    custom: CategoryTable,
    table: CategoryTable,
    limit: int,
) -> Path:
    """Write `review/` into the folder of the labels: pictures and `index.html`, the worst first.

    Args:
        folder: with `images/` and `panoptic/`.
        entries: the images and their lines of the journals.
        custom: the classes of the custom masks.
        table: the classes of the labels.
        limit: how many images it shows.
    """
    return write_review(
        (_item(folder, image, entry, table) for image, entry in entries),
        folder / "review",
        custom_palette=Palette.from_categories(custom.categories),
        palette=Palette.from_categories(table.categories),
        title="Labels to look at",
        limit=limit,
    )


def _item(folder: Path, image: LabelTask, entry: Entry, table: CategoryTable) -> ReviewItem:
    info = entry["annotation"]["segments_info"]
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
    pixels = entry["pixels"]
    return ReviewItem(
        name=image.name,
        custom=image.record,
        labels=labels,
        score=worst_score(info),
        void_share=pixels["void"] / sum(pixels.values()),
    )


def worst_score(segments: Sequence[Entry]) -> float:
    """The lowest score of an image's segments; 1 where the model gave none."""
    scores = [s["provenance"]["score"] for s in segments]
    return min((score for score in scores if score is not None), default=1.0)
