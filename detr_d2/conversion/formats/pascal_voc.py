"""Pascal VOC: a folder with JPEGImages, SegmentationClass, SegmentationObject, Annotations."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from detr_d2.conversion.classes import NOT_A_CLASS, SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped, joined
from detr_d2.conversion.formats.instance_ids import read_majority
from detr_d2.conversion.formats.semantic_png import read_class_map, value_labels
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import IMAGE_SUFFIXES, ImageInfo, files_below, read_values
from detr_d2.ops.panoptic_ids import compact
from detr_d2.utils.files import read_lines

IMAGES, CLASSES, OBJECTS, BOXES = (
    "JPEGImages",
    "SegmentationClass",
    "SegmentationObject",
    "Annotations",
)
LABEL_MAP = "labelmap.txt"
# The classes of the challenge in the order of their indices, from 1.
NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
BLACK, BORDER = 0, 224 + 256 * 224 + 65536 * 192


@dataclass
class PascalVoc(AnnotationFormat):
    """Pascal VOC, as the challenge has it or as CVAT and datumaro export it.

    The class of an object is the one that most of its pixels have in SegmentationClass. Pixels of
    the border colour are void. Without `labelmap.txt` the classes are those of the challenge.
    Images that have only boxes (Annotations) are skipped.

    Args:
        folder: with JPEGImages and the others.
        part: name of a list in ImageSets/Segmentation (train, val); None = all images.
    """

    name: ClassVar[str] = "pascal-voc"
    default_things: ClassVar[str] = "void"

    folder: str
    part: str | None = None

    def find_samples(self) -> list[Sample]:
        """Read classes and list, and find the masks of every image."""
        label_map = os.path.join(self.folder, LABEL_MAP)
        classes = _read_label_map(label_map) if os.path.isfile(label_map) else _challenge()
        self.classes = [c for c in classes if c.name not in NOT_A_CLASS]
        void = {BORDER} | {int(c.key) for c in classes if c.name == "__ignore__"}  # type: ignore[call-overload]
        self._labels = value_labels(self.classes, void, (BLACK,))
        chosen = self._listed()
        samples = []
        for name in files_below(os.path.join(self.folder, IMAGES), IMAGE_SUFFIXES):
            stem = os.path.splitext(name)[0]
            if chosen is not None and stem not in chosen:
                continue
            image = joined(os.path.join(self.folder, IMAGES), name)
            masks = [os.path.join(self.folder, kind, stem + ".png") for kind in (CLASSES, OBJECTS)]
            absent = [path for path in masks if not os.path.isfile(path)]
            if absent:
                boxes = os.path.isfile(os.path.join(self.folder, BOXES, stem + ".xml"))
                why = "only boxes; masks are needed: " if boxes else ""
                self.skipped.append(Skipped(image, f"{why}there is no {absent[0]}"))
                continue
            samples.append(Sample(name, image, tuple(masks), tuple(masks)))
        return samples

    def _listed(self) -> set[str] | None:
        if self.part is None:
            return None
        path = Path(self.folder, "ImageSets", "Segmentation", f"{self.part}.txt")
        return {line.strip() for line in read_lines(path)}

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Read both masks and find the class of every object."""
        semantic, objects = sample.source
        class_map = read_class_map(self, semantic, info, self._labels)
        # By colour: palette files have the colours of the challenge, other programs write RGB.
        numbers = self.align(read_values(objects, colors=True), info, objects).astype(np.int32)
        numbers[numbers == BORDER] = -1
        annotation = ImageAnnotation(info.size, class_map, numbers)
        read_majority(annotation, compact(numbers)[1], self.classes, objects)
        return annotation


def _challenge() -> list[SourceClass]:
    return [_class_of(name, color_of(i), i) for i, name in enumerate(NAMES, start=1)]


def color_of(index: int) -> tuple[int, int, int]:
    """The challenge's colour of an index: its bits are spread over red, green and blue."""
    color = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            color[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    return color[0], color[1], color[2]


def _class_of(name: str, color: tuple[int, int, int], wanted: int | None = None) -> SourceClass:
    key = color[0] + 256 * color[1] + 65536 * color[2]
    return SourceClass(key, name, True, wanted, color)


def _read_label_map(path: str) -> list[SourceClass]:
    """The classes of `labelmap.txt`, lines of NAME:R,G,B:parts:actions, but for the background.

    Where no line has a colour, the classes have those of the challenge, by their place.

    Raises:
        ValueError: a line without colour, or a colour given twice.
    """
    classes: dict[int, SourceClass] = {}
    lines = list(_lines(path))
    colored = any(len(cells) > 1 and cells[1] for _, cells in lines)
    for index, (line, (name, *rest)) in enumerate(lines):
        channels = rest[0].split(",") if colored and rest else []
        channels = channels if colored else [str(channel) for channel in color_of(index)]
        if len(channels) != 3 or not all(c.strip().isdigit() and int(c) < 256 for c in channels):
            raise ValueError(f"{path}: line {line}: must be NAME:RED,GREEN,BLUE::")
        red, green, blue = (int(c) for c in channels)
        source = _class_of("__ignore__" if name == "ignored" else name, (red, green, blue))
        key = red + 256 * green + 65536 * blue
        if key == BLACK or (key == BORDER and source.name == "__ignore__"):
            continue
        if key in classes:
            raise ValueError(f"{path}: {classes[key].name} and {name} have one colour")
        classes[key] = source
    return list(classes.values())


def _lines(path: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip().split(":")
