"""Write the result of a labelling from what its processes have noted image by image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detr_d2.conversion.formats.base import Skipped
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import write_panoptic_json
from detr_d2.pseudo_labels.label_images import Labelling, LabelTask, open_journals
from detr_d2.pseudo_labels.review import review_labels
from detr_d2.utils.files import write_json


@dataclass
class LabellingReport:
    """Counts of a finished labelling.

    Attributes:
        images: images labelled.
        segments: of each class in the result.
        shares: of all pixels: "custom", "model" (as predicted), "filled" (given to stuff) and
            "void".
        skipped: images that gave no labels, with the reason.
    """

    images: int = 0
    segments: dict[str, int] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)


def write_result(
    folder: Path,
    labelling: Labelling,
    tasks: Sequence[LabelTask],
    skipped: list[Skipped],
    review: int,
) -> LabellingReport:
    """Write JSONs and review of a labelling from its journals, and count.

    Args:
        folder: with `images/`, `panoptic/` and the journals.
        labelling: the settings.
        tasks: all images.
        skipped: those that could not be read.
        review: how many images the review shows; 0 = no review.

    Raises:
        ValueError: no image could be labelled.
    """
    report = LabellingReport(skipped=sorted(skipped, key=lambda item: item.name))
    with ExitStack() as stack:
        journals = {name: j for j in open_journals(folder, stack) for name in j}
        done = [image for image in tasks if image.name in journals]
        if not done:
            reasons = "; ".join(f"{item.name}: {item.reason}" for item in report.skipped[:5])
            raise ValueError(f"no image could be labelled: {reasons}")

        def entry(image: LabelTask, key: str) -> Any:
            return journals[image.name].read(image.name)[key]

        counts: Counter[int] = Counter()
        pixels: Counter[str] = Counter()
        for image in done:
            pixels.update(entry(image, "pixels"))
            counts.update(s["category_id"] for s in entry(image, "annotation")["segments_info"])
        table = _used(labelling, counts)
        sets = list(dict.fromkeys(image.dataset for image in tasks))
        for name in sets:
            part = [image for image in done if image.dataset == name]
            write_panoptic_json(
                folder / (f"panoptic_{name}.json" if len(sets) > 1 else "panoptic.json"),
                images=(entry(image, "image") for image in part),
                annotations=(entry(image, "annotation") for image in part),
                categories=table,
                description=f"{name}, with pseudo-labels for stuff by detr_d2",
            )
        if review:
            lines = ((image, journals[image.name].read(image.name)) for image in done)
            review_labels(folder, lines, labelling.custom, table, review)
    report.images = len(done)
    report.segments = {c.name: counts[c.id] for c in table.categories}
    total = sum(pixels.values())
    report.shares = {key: round(count / total, 4) for key, count in pixels.items()}
    write_json(folder / "classes.json", labelling.plan.mapping(), indent=1)
    return report


def _used(labelling: Labelling, counts: Mapping[int, int]) -> CategoryTable:
    """The custom classes, and of the model's those that occur."""
    kept = labelling.plan.custom | {id_ for id_, count in counts.items() if count}
    return CategoryTable(c for c in labelling.plan.table.to_json() if c["id"] in kept)
