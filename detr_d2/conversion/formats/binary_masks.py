"""Binary masks, one a class or one an instance, whose class is in the name of the file, in the
name of its folder, or the same for all."""

from dataclasses import dataclass
from typing import ClassVar

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import Sample, joined
from detr_d2.conversion.formats.drawing import Drawing, Layer, cut_out
from detr_d2.conversion.formats.image_folder import ImageFolderFormat
from detr_d2.conversion.formats.matching import Match
from detr_d2.conversion.regions import split_regions
from detr_d2.data.image_io import ImageFacts, read_binary


@dataclass
class BinaryMasks(ImageFolderFormat):
    """Binary masks. `{n}` in the pattern says that a file is one instance.

    Without `{n}`, a thing's mask is split into connected regions as a semantic mask is, unless
    `one_region`.

    Args:
        label: the class of all masks, for patterns without `{class}`.
        isthing: whether the classes are things, where `declared` does not say.
        declared: the classes, keyed by their names in the pattern; None takes all that occur.
        foreground: the value that means "inside"; None = the upper half of the range.
        min_area, closing, one_region: for splitting, see `detr_d2.conversion.rasterize.Rules`.
    """

    name: ClassVar[str] = "binary-masks"

    label: str | None = None
    isthing: bool = False
    declared: tuple[SourceClass, ...] | None = None
    foreground: int | None = None
    min_area: int = 10
    closing: int = 0
    one_region: bool = False

    def scan(self) -> None:
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
        self.make_samples(found, images)

    def read(self, sample: Sample, facts: ImageFacts) -> Drawing:
        """Read all masks of an image as layers."""
        matches: list[Match] = sample.source
        drawing = Drawing(facts.size)
        things = {c.key for c in self.classes if c.isthing}
        for match in sorted(matches, key=lambda m: m.mask):
            path = joined(self.masks, match.mask)
            mask = self.fit(read_binary(path, self.foreground), facts, path)
            key = match.label if self.label is None else self.label
            if key in things and "{n}" not in self.pattern and not self.one_region:
                pieces = split_regions(mask, self.min_area, self.closing)
                drawing.layers += [Layer(key, piece, (top, left)) for top, left, piece in pieces]
            else:
                layer = cut_out(mask, key)
                drawing.layers += [layer] if layer else []
        return drawing
