"""one PNG an image whose pixel values are classes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, joined
from detr_d2.conversion.formats.drawing import Drawing
from detr_d2.conversion.formats.image_folder import ImageFolderFormat
from detr_d2.conversion.formats.matching import Match
from detr_d2.data.image_io import ImageFacts, UnreadableError, read_values

VALUES_SHOWN = 8


@dataclass
class SemanticPng(ImageFolderFormat):
    """Semantic masks; 0 is a class if the list says so.

    Args:
        values: the classes, whose keys are pixel values (see `classes.parse_classes`).
        void: values that mean "unlabelled for good"; nothing is put there.
        background: values that mean "nothing was labelled here": void, or the class "everything
            else" if there is one. A value in none of the lists is an error.
        nearest: take the nearest declared value, for JPEGs and smooth edges.
    """

    name: ClassVar[str] = "semantic-png"

    values: tuple[SourceClass, ...] = ()
    void: tuple[int, ...] = ()
    background: tuple[int, ...] = ()
    nearest: bool = False

    def scan(self) -> None:
        """Match masks to images."""
        wrong = [c.key for c in self.values if not isinstance(c.key, int)]
        if wrong or not self.values:
            raise ValueError(f"semantic-png: classes need pixel values, VALUE=NAME; found {wrong}")
        self.classes = list(self.values)
        found, images = self.matches()
        self.refuse_several(found)
        self.make_samples(found, images)

    def read(self, sample: Sample, facts: ImageFacts) -> Drawing:
        """Read the mask as a label map."""
        matches: list[Match] = sample.source
        if not matches:
            return Drawing(facts.size)
        path = joined(self.masks, matches[0].mask)
        meanings = meanings_of(self.values, self.void, self.background)
        return Drawing(facts.size, labels=read_labels(self, path, facts, meanings, self.nearest))


def meanings_of(
    classes: Iterable[SourceClass], void: Iterable[int], background: Iterable[int]
) -> dict[int, int]:
    """What pixel values mean: index of the class + 1, 0 = nothing, -1 = void."""
    meanings = {int(c.key): index for index, c in enumerate(classes, start=1)}  # type: ignore[call-overload]
    return meanings | dict.fromkeys(background, 0) | dict.fromkeys(void, -1)


def read_labels(
    annotation_format: AnnotationFormat,
    path: str,
    facts: ImageFacts,
    meanings: dict[int, int],
    nearest: bool = False,
) -> np.ndarray:
    """Read a semantic mask of an image as what its values mean: (H, W) int16.

    Args:
        annotation format: says how masks are fitted to their images.
        path: the mask.
        facts: those of the image.
        meanings: see `meanings_of`.
        nearest: take the nearest value that has a meaning, for JPEGs and smooth edges.

    Raises:
        UnreadableError: the mask is damaged, of another size, or has a value without a meaning.
    """
    # Only colours have values above those of 16 bits.
    colors = max(meanings) > 65535
    values = annotation_format.fit(
        read_values(path, lossless=not nearest, colors=colors), facts, path
    )
    return label_map(values, meanings, path, nearest)


def label_map(
    values: np.ndarray, meanings: dict[int, int], path: str, nearest: bool = False
) -> np.ndarray:
    """Replace pixel values (H, W) by what they mean: int16.

    Raises:
        UnreadableError: a value that `meanings` has not, unless the nearest is taken.
    """
    known = np.array(sorted(meanings), np.int64)
    meant = np.array([meanings[int(value)] for value in known], np.int16)
    highest = int(values.max()) if values.size else 0
    if highest < 2**16:
        # A table over all values: one look-up a pixel.
        present = np.flatnonzero(np.bincount(values.ravel(), minlength=1))
        inverse = values
        table = np.zeros(highest + 1, np.int16)
    else:
        present, inverse = np.unique(values, return_inverse=True)
        inverse = inverse.reshape(values.shape)
        table = np.zeros(len(present), np.int16)
    spots = np.searchsorted(known, present).clip(0, len(known) - 1)
    below = (spots - 1).clip(0)
    closer = np.abs(known[below] - present) < np.abs(known[spots] - present)
    spots = np.where(closer, below, spots)
    unknown = present[known[spots] != present]
    if len(unknown) and not nearest:
        shown = ", ".join(str(int(v)) for v in unknown[:VALUES_SHOWN])
        raise UnreadableError(
            f"{path}: pixel values {shown} are no declared class, void or background; declared: "
            f"{known[:40].tolist()}"
        )
    table[present if highest < 2**16 else slice(None)] = meant[spots]
    return table[inverse]
