"""Binary masks, one per class or one per instance.

The class is in the name of the file, in the name of its folder, or the same for all.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import Sample, joined
from detr_d2.conversion.formats.image_folder import ImageFolderFormat
from detr_d2.conversion.formats.matching import Match, Pattern
from detr_d2.conversion.image_annotation import TOO_SMALL, ImageAnnotation, Region
from detr_d2.conversion.rasterize import components
from detr_d2.data.image_io import ImageInfo, read_binary


@dataclass
class BinaryMasks(ImageFolderFormat):
    """Binary masks. `{n}` in the pattern says that a file is one instance.

    Without `{n}`, a thing's mask is split into connected components as a semantic mask is, unless
    `one_region`.

    Args:
        label: the class of all masks, for patterns without `{class}`.
        isthing: whether the classes are things, where `declared` does not say.
        declared: the classes, keyed by their names in the pattern; None takes all that occur.
        foreground: the one value that means "inside"; None = the upper half of the range.
        threshold: the lowest value that means "inside", for masks with grey values.
        min_area, closing, one_region: for splitting, see `detr_d2.conversion.rasterize.Rules`.
    """

    name: ClassVar[str] = "binary-masks"

    label: str | None = None
    isthing: bool = False
    declared: tuple[SourceClass, ...] | None = None
    foreground: int | None = None
    threshold: int | None = None
    min_area: int = 10
    closing: int = 0
    one_region: bool = False

    def find_samples(self) -> list[Sample]:
        """Match masks to images and gather the classes."""
        if ("{class}" in self.pattern) == (self.label is not None):
            raise ValueError(
                f"pattern {self.pattern!r}, class {self.label!r}: the class must come either from "
                "{class} in the pattern or from the argument"
            )
        if self.label is not None:
            only = SourceClass(self.label, self.label, self.isthing)
            self.classes = [c for c in self.declared or () if c.key == self.label] or [only]
            found, images = self.matches()
        else:
            names = None if self.declared is None else [str(c.key) for c in self.declared]
            found, images = self.matches(names)
            labels = {m.label for matches in found.values() for m in matches if m.label}
            self.classes = list(self.declared or ()) or [
                SourceClass(label, label, self.isthing) for label in sorted(labels)
            ]
        self._numbered = Pattern(self.pattern).numbered
        self.reject_duplicates(found)
        return self.make_samples(found, images)

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Read all masks of an image as regions."""
        matches: list[Match] = sample.source
        annotation = ImageAnnotation(info.size)
        things = {c.key for c in self.classes if c.isthing}
        for match in sorted(matches, key=lambda m: m.mask):
            path = joined(self.masks, match.mask)
            mask = self.align(read_binary(path, self.foreground, self.threshold), info, path)
            key = match.label if self.label is None else self.label
            if key in things and not self._numbered and not self.one_region:
                self._add_components(annotation, mask, key)
            elif self._numbered or mask.any():
                annotation.add_region(mask, key)
        return annotation

    def _add_components(self, annotation: ImageAnnotation, mask: np.ndarray, key: Hashable) -> None:
        """Add the components of a thing's mask as regions; small ones are void below them."""
        if annotation.class_map is None:
            annotation.class_map = np.zeros(mask.shape, np.int16)
        for top, left, part in components(mask, self.closing):
            if part.sum() >= self.min_area:
                annotation.regions.append(Region(key, part, (top, left)))
                continue
            height, width = part.shape
            annotation.class_map[top : top + height, left : left + width][part] = -1
            annotation.lost.append((TOO_SMALL, key))
