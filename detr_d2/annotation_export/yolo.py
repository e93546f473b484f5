"""YOLO segmentation: a text file for each image, one line for each segment."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from detr_d2.annotation_export.base import AnnotationWriter, Finding, score_of, stuff_option
from detr_d2.annotation_export.polygons import whole_shapes
from detr_d2.data.categories import CategoryTable
from detr_d2.utils.files import write_text

LABELS, SCORES, CLASSES = "labels", "scores", "data.yaml"


class YoloWriter(AnnotationWriter):
    """`labels/` with one polygon a segment, see `whole_shapes`, and `data.yaml` with the classes.

    Its lines have no place for scores: they are in `scores/`, line by line.
    """

    name: ClassVar[str] = "yolo"
    files: ClassVar[tuple[str, ...]] = (f"{LABELS}/**/*.txt", CLASSES)

    def __init__(
        self, folder: str | os.PathLike[str], table: CategoryTable, resume: bool = False
    ) -> None:
        # Without scores the labels and classes are somebody else's.
        super().__init__(folder, table, resume and Path(folder, SCORES).is_dir())

    def __contains__(self, name: str) -> bool:
        # The scores are written first.
        return (self.folder / LABELS / _text_file(name)).is_file()

    def add(self, finding: Finding) -> None:
        """Write labels and scores of one image."""
        height, width = finding.id_map.shape
        shapes = whole_shapes(finding.id_map, finding.segments)
        lines = []
        for shape in shapes:
            sides = (f"{x / width:.6f} {y / height:.6f}" for x, y in shape.corners)
            lines.append(" ".join([str(shape.segment["category_id"]), *sides]))
        scores = [str(score_of(shape.segment)) for shape in shapes]
        for part, texts in ((SCORES, scores), (LABELS, lines)):
            _write_lines(self.folder / part / _text_file(finding.name), texts)

    def finish(self) -> None:
        """Write the names of the classes."""
        names = [
            # Any JSON text is YAML too, whatever characters a name has.
            f"  {number}: {json.dumps(category.name, ensure_ascii=False)}"
            for number, category in enumerate(self.table.categories)
        ]
        _write_lines(self.folder / CLASSES, ["names:", *names])

    def conversion(self, images: str) -> list[str]:
        """YOLO does not know which classes are stuff."""
        classes = ["--classes", str(self.folder / CLASSES)]
        folders = ["--images", images, "--masks", str(self.folder / LABELS)]
        return ["yolo", *folders, *classes, *stuff_option(self.stuff())]


def _text_file(name: str) -> str:
    return f"{os.path.splitext(name)[0]}.txt"


def _write_lines(path: os.PathLike[str], lines: Sequence[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
