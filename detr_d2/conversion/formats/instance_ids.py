"""one PNG an image whose pixel values tell instances apart, alone or with a semantic PNG."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import Sample, Skipped, joined
from detr_d2.conversion.formats.drawing import Drawing
from detr_d2.conversion.formats.image_folder import ImageFolderFormat
from detr_d2.conversion.formats.matching import Match, masks_by_image
from detr_d2.conversion.formats.semantic_png import meanings_of, read_labels
from detr_d2.data.image_io import ImageFacts, UnreadableError, read_values
from detr_d2.ops.panoptic_ids import compact


@dataclass
class InstanceIds(ImageFolderFormat):
    """Instance numbers, 0 = none. The class of an instance comes from one of three places:

    - `label`: all are of this class;
    - `divisor`: number = value of the class x divisor + n, as Cityscapes has it (1000); numbers
      below the divisor are whole regions of the class of that value;
    - `semantic`: the class that most of its pixels have in the semantic mask. Pixels of the
      semantic mask outside of instances are stuff; of things they are void.

    Args:
        values: the classes, whose keys are pixel values of the semantic mask or of the division.
        void: values, in either mask, that mean "unlabelled for good".
        background: values of the semantic mask or of the division without a class.
        semantic, semantic_pattern: folder and names of the semantic masks.
    """

    name: ClassVar[str] = "instance-ids"
    default_things: ClassVar[str] = "void"
    are_things: ClassVar[bool] = True

    values: tuple[SourceClass, ...] = ()
    label: str | None = None
    divisor: int | None = None
    semantic: str | None = None
    semantic_pattern: str = "{image}"
    void: tuple[int, ...] = ()
    background: tuple[int, ...] = (0,)

    def scan(self) -> None:
        """Match instance masks, and semantic masks, to images."""
        given = [self.label is not None, self.divisor is not None, self.semantic is not None]
        if sum(given) != 1:
            raise ValueError("instance-ids: give one of label (class), divisor, semantic")
        if self.label is not None:
            self.classes = [SourceClass(self.label, self.label, True)]
        else:
            if not self.values:
                raise ValueError("instance-ids: classes with pixel values are needed, VALUE=NAME")
            self.classes = list(self.values)
        found, images = self.matches()
        partners = {}
        if self.semantic is not None:
            partners = masks_by_image(self.semantic, self.semantic_pattern, images)
            alone = {image for image in found if image not in partners}
            self.skipped += [
                Skipped(joined(self.images, image), "no semantic mask") for image in sorted(alone)
            ]
            images = [image for image in images if image not in alone]
            found = {image: matches for image, matches in found.items() if image in partners}
        self.refuse_several(found)
        self._partners = partners
        self.make_samples(found, images)

    def source_of(self, matches: list[Match]) -> tuple[str | None, str | None]:
        """Files of the instance mask and of the semantic mask."""
        if not matches:
            return None, None
        return joined(self.masks, matches[0].mask), self._partners.get(matches[0].image)

    def inputs_of(self, matches: list[Match]) -> tuple[str, ...]:
        """Both files."""
        return tuple(path for path in self.source_of(matches) if path is not None)

    def read(self, sample: Sample, facts: ImageFacts) -> Drawing:
        """Read the instance map and find the class of every instance."""
        path, semantic = sample.source
        drawing = Drawing(facts.size)
        if path is None:
            return drawing
        numbers = self.fit(read_values(path), facts, path).astype(np.int32)
        for value in self.void:
            numbers[numbers == value] = -1
        drawing.instances = numbers
        present, positions = compact(numbers)
        present = [number for number in present if number > 0]
        if self.label is not None:
            drawing.instance_classes = dict.fromkeys(present, (self.label, False))
        elif self.divisor is not None:
            self._by_division(drawing, present, path)
        else:
            meanings = meanings_of(self.values, self.void, self.background)
            drawing.labels = read_labels(self, semantic, facts, meanings)
            self._by_majority(drawing, positions, path)
        return drawing

    def _by_division(self, drawing: Drawing, present: list[int], path: str) -> None:
        assert self.divisor is not None and drawing.instances is not None
        keys = {c.key for c in self.classes}
        for number in present:
            value = number // self.divisor if number >= self.divisor else number
            if value in keys:
                drawing.instance_classes[number] = (value, False)
            elif value in self.void:
                drawing.instances[drawing.instances == number] = -1
            elif value not in self.background:
                raise UnreadableError(
                    f"{path}: number {number} is of value {value}, which is no declared class, "
                    f"void or background; declared: {sorted(str(key) for key in keys)}"
                )

    def _by_majority(self, drawing: Drawing, positions: np.ndarray, path: str) -> None:
        assert drawing.labels is not None and drawing.instances is not None
        width = len(self.classes) + 2
        pairs = positions.astype(np.int64) * width + drawing.labels + 1
        counts = np.bincount(pairs.ravel())
        counts = np.pad(counts, (0, -len(counts) % width)).reshape(-1, width)
        for row, number in zip(counts, compact(drawing.instances)[0], strict=True):
            if number <= 0:
                continue
            if not row[2:].any():
                raise UnreadableError(
                    f"{path}: instance {number} lies where the semantic mask has no class"
                )
            drawing.instance_classes[number] = (self.classes[int(row[2:].argmax())].key, False)
