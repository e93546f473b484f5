"""Instance masks: one PNG per image whose pixel values are instances, maybe with a semantic PNG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import Sample, Skipped, joined
from detr_d2.conversion.formats.image_folder import ImageFolderFormat
from detr_d2.conversion.formats.matching import Match, masks_by_image
from detr_d2.conversion.formats.semantic_png import read_class_map, value_labels
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import ImageInfo, UnreadableError, read_values
from detr_d2.ops.panoptic_ids import compact


@dataclass
class InstanceIds(ImageFolderFormat):
    """Instance numbers, 0 = none. The class of an instance comes from one of three places:

    - `label`: all are of this class;
    - `divisor`: number = value of the class x divisor + n, as Cityscapes has it (1000); numbers
      below the divisor are regions of the class of that value: a crowd if it is a thing;
    - `semantic`: the class that most of its pixels have in the semantic mask. Pixels of the
      semantic mask outside of instances are stuff; of things they are void.

    Args:
        values: the classes, whose keys are pixel values of the semantic mask or of the division.
        void: values, in either mask, that are declared as void.
        background: values of the semantic mask or of the division that mean "not labelled"; None =
            0, unless it has another meaning.
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
    background: tuple[int, ...] | None = None

    def find_samples(self) -> list[Sample]:
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
            self._labels = value_labels(self.values, self.void, self.background)
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
        self.reject_several(found)
        self._partners = partners
        return self.make_samples(found, images)

    def source_of(self, matches: list[Match]) -> tuple[str | None, str | None]:
        """Files of the instance mask and of the semantic mask."""
        if not matches:
            return None, None
        return joined(self.masks, matches[0].mask), self._partners.get(matches[0].image)

    def inputs_of(self, matches: list[Match]) -> tuple[str, ...]:
        """Both files."""
        return tuple(path for path in self.source_of(matches) if path is not None)

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Read the instance map and find the class of every instance."""
        path, semantic = sample.source
        annotation = ImageAnnotation(info.size)
        if path is None:
            return annotation
        numbers = self.align(read_values(path), info, path).astype(np.int32)
        for value in self.void:
            numbers[numbers == value] = -1
        if self.divisor is not None:
            read_divided(annotation, numbers, self.divisor, self._labels, self.classes, path)
            return annotation
        annotation.instance_map = numbers
        present, positions = compact(numbers)
        if self.label is not None:
            found = [number for number in present if number > 0]
            annotation.instance_classes = dict.fromkeys(found, (self.label, False))
        else:
            annotation.class_map = read_class_map(self, semantic, info, self._labels)
            read_majority(annotation, positions, self.classes, path)
        return annotation


def read_divided(
    annotation: ImageAnnotation,
    numbers: np.ndarray,
    divisor: int,
    labels: Mapping[int, int],
    classes: Sequence[SourceClass],
    path: str,
) -> None:
    """Fill an annotation from numbers (H, W) that are class value x divisor + instance.

    Args:
        annotation: gets `instance_map` and `instance_classes`.
        numbers: those below the divisor are a whole class, a crowd if it is a thing; below 0 void.
        divisor: see above.
        labels: of class values: position in `classes` + 1, 0 = unlabelled, -1 = void.
        classes: of the format.
        path: the file, for messages.

    Raises:
        UnreadableError: a class value without label.
    """
    present, positions = compact(numbers)
    # Renumbered from 1, since 0 may be a class.
    instances = np.zeros(len(present), np.int32)
    for position, number in enumerate(present):
        whole_class = number < divisor
        value = number if whole_class else number // divisor
        label = -1 if number < 0 else labels.get(value)
        if label is None:
            keys = sorted(str(c.key) for c in classes)
            raise UnreadableError(
                f"{path}: number {number} is of value {value}, which is no declared class, "
                f"void or background; declared: {keys}"
            )
        instances[position] = label
        if label > 0:
            source = classes[label - 1]
            instances[position] = position + 1
            crowd = whole_class and source.isthing
            annotation.instance_classes[position + 1] = (source.key, crowd)
    annotation.instance_map = instances[positions]


def read_majority(
    annotation: ImageAnnotation, positions: np.ndarray, classes: Sequence[SourceClass], path: str
) -> None:
    """Give every instance of an annotation the class that most of its pixels have.

    Args:
        annotation: with `class_map` and `instance_map`; gets `instance_classes`.
        positions: (H, W) of `compact(instance_map)`.
        classes: of the format.
        path: the file of the instances, for messages.

    Raises:
        UnreadableError: an instance lies where the class map has no class.
    """
    assert annotation.class_map is not None and annotation.instance_map is not None
    width = len(classes) + 2
    pairs = positions.astype(np.int64) * width + annotation.class_map + 1
    counts = np.bincount(pairs.ravel())
    counts = np.pad(counts, (0, -len(counts) % width)).reshape(-1, width)
    for row, number in zip(counts, compact(annotation.instance_map)[0], strict=True):
        if number <= 0:
            continue
        if not row[2:].any():
            raise UnreadableError(
                f"{path}: instance {number} lies where the semantic mask has no class"
            )
        annotation.instance_classes[number] = (classes[int(row[2:].argmax())].key, False)
