"""Definitions that the writers of all annotation formats share."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from detr_d2.data.categories import Category, CategoryTable
from detr_d2.utils.files import Journal

SCORE_DIGITS = 4


@dataclass(frozen=True)
class Finding:
    """What was found in one image.

    `name` is the image's path below the folder that was given, with "/", `path` its file; `id_map`
    (H, W) integers with 0 = nothing; `segments` have `id`, `category_id` (contiguous) and `score`.
    """

    name: str
    path: str | os.PathLike[str]
    id_map: np.ndarray
    segments: Sequence[Mapping[str, Any]]

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return os.path.splitext(self.name)[0]


class AnnotationWriter(ABC):
    """Writes one annotation format, image by image.

    Args:
        folder: where the files go; made if needed.
        table: the categories, by whose contiguous ids the segments come.
        resume: keep what an earlier run has written.

    Raises:
        ValueError: there are files of this format, and `resume` does not keep them.
    """

    name: ClassVar[str] = ""
    # The files that annotators correct, as patterns below the folder.
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, folder: str | os.PathLike[str], table: CategoryTable, resume: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.table = table
        found = next((path for pattern in self.files for path in self.folder.glob(pattern)), None)
        if found is not None and not resume:
            raise ValueError(
                f"{found} is there, perhaps corrected by hand, and is not replaced; choose another "
                "folder, or go on with what an earlier run has written there (--resume)"
            )

    def check(self, names: Iterable[str]) -> None:  # noqa: B027  most take all
        """Raise ValueError for names of images that the format cannot hold."""

    @abstractmethod
    def __contains__(self, name: str) -> bool:
        """Whether the image of this name is written."""

    @abstractmethod
    def add(self, finding: Finding) -> None:
        """Write one image; what it had before is replaced."""

    def finish(self) -> None:  # noqa: B027  most need nothing
        """Write the file of all images, where the format has one."""

    @abstractmethod
    def conversion(self, images: str) -> list[str]:
        """Return the arguments of `convert_masks.py` that read the files again.

        Args:
            images: folder of the images.
        """

    def category(self, segment: Mapping[str, Any]) -> Category:
        """The category of a segment."""
        return self.table.categories[segment["category_id"]]

    def stuff(self) -> list[str]:
        """Names of the stuff classes."""
        return [category.name for category in self.table.categories if not category.isthing]


class SingleFileWriter(AnnotationWriter):
    """A format with one file for all images: what is in it is kept in a journal until then."""

    journal_name: ClassVar[str] = "findings.jsonl"

    def __init__(
        self, folder: str | os.PathLike[str], table: CategoryTable, resume: bool = False
    ) -> None:
        path = Path(folder, self.journal_name)
        # Without a journal there is nothing to go on with, and the file is not ours.
        super().__init__(folder, table, resume and path.is_file())
        self.folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            path.unlink(missing_ok=True)
        self.journal = Journal(path, "name")

    def __contains__(self, name: str) -> bool:
        return name in self.journal

    def add(self, finding: Finding) -> None:
        """Note one image."""
        self.journal.write({"name": finding.name, **self.describe(finding)})

    @abstractmethod
    def describe(self, finding: Finding) -> dict[str, Any]:
        """Return what the file will say of an image, as JSON."""


def score_of(segment: Mapping[str, Any]) -> float | None:
    """The score of a segment, 0..1; None where the model gives none."""
    score = segment.get("score")
    return None if score is None else round(float(score), SCORE_DIGITS)


def stuff_option(names: Sequence[str]) -> list[str]:
    """`--stuff` of `convert_masks.py`, for formats that do not store which classes are stuff."""
    return ["--stuff", ",".join(names)] if names else []
