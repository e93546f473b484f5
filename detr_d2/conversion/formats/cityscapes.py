"""Cityscapes as it is on disk: leftImg8bit and gtFine (or gtCoarse), by part and city."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped, joined
from detr_d2.conversion.formats.instance_ids import read_divided
from detr_d2.conversion.formats.recognize import CITYSCAPES, recognize_json
from detr_d2.conversion.formats.semantic_png import value_labels
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import ImageInfo, UnreadableError, files_below, read_values
from detr_d2.data.segmentations import check_points, check_size
from detr_d2.utils.files import read_json

# Ids and names of the classes that the benchmark evaluates (Cordts et al., 2016, and the labels
# of the data set's own scripts); the last eight have instances.
STUFF = {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole"}
STUFF |= {19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky"}
THINGS = {24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train"}
THINGS |= {32: "motorcycle", 33: "bicycle"}
# The others are void, by id; only polygons name them.
OTHERS = {"unlabeled": 0, "ego vehicle": 1, "rectification border": 2, "out of roi": 3}
OTHERS |= {"static": 4, "dynamic": 5, "ground": 6, "parking": 9, "rail track": 10}
OTHERS |= {"guard rail": 14, "bridge": 15, "tunnel": 16, "polegroup": 18, "caravan": 29}
OTHERS |= {"trailer": 30}
# A number of an instance is its class x 1000 + n; numbers below are whole classes or crowds.
DIVISOR, GROUP = 1000, "group"
IMAGE = "_leftImg8bit.png"
LICENSE_PLATE = "license plate"


@dataclass
class Cityscapes(AnnotationFormat):
    """Cityscapes: the 19 classes that the benchmark evaluates; all others are void.

    The ground truth is `*_instanceIds.png` or, where that is absent, `*_polygons.json`. Objects
    without number (groups of cars, say) are crowds. Images without either, as those of the test
    part, are skipped.

    Args:
        folder: with `leftImg8bit` and the folder of the ground truth.
        part: the part to convert (train, val); None = all.
        ground_truth: `gtFine` or `gtCoarse`.
    """

    name: ClassVar[str] = "cityscapes"

    folder: str
    part: str | None = None
    ground_truth: str = "gtFine"

    def find_samples(self) -> list[Sample]:
        """Find images and their ground truth."""
        names = {**STUFF, **THINGS}
        self.classes = [SourceClass(i, names[i], i in THINGS, i) for i in sorted(names)]
        self._labels = value_labels(tuple(self.classes), tuple(OTHERS.values()), None)
        below = [self.part] if self.part else []
        images = os.path.join(self.folder, "leftImg8bit", *below)
        truth = os.path.join(self.folder, self.ground_truth, *below)
        ending = f"_{self.ground_truth}_"
        samples = []
        for name in files_below(images, frozenset({".png"})):
            image = joined(images, name)
            if not name.endswith(IMAGE):
                self.skipped.append(Skipped(image, f"its name does not end in {IMAGE}"))
                continue
            stem = joined(truth, name.removesuffix(IMAGE)) + ending
            candidates = [stem + "instanceIds.png", stem + "polygons.json"]
            found = [path for path in candidates if os.path.isfile(path)]
            test = os.path.basename(os.path.dirname(os.path.dirname(image))) == "test"
            if not found or test:
                why = "the test part has no ground truth" if test else f"no {candidates[0]}"
                self.skipped.append(Skipped(image, why))
                continue
            samples.append(Sample(name, image, found[0], (found[0],)))
        return samples

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Read the numbers of instances and divide them."""
        path = sample.source
        if path.endswith(".json"):
            numbers = rasterize_labels(path)
        else:
            numbers = read_values(path)
        annotation = ImageAnnotation(info.size)
        numbers = self.align(numbers, info, path).astype(np.int32)
        read_divided(annotation, numbers, DIVISOR, self._labels, self.classes, path)
        return annotation


def rasterize_labels(path: str) -> np.ndarray:
    """Rasterize `*_polygons.json` as the data set's scripts do: (H, W) int32 numbers of instances.

    Later objects lie over earlier ones. An object of a class with instances gets the next number
    of its class; a name that ends in "group" is the class without number.

    Raises:
        UnreadableError: another format, an unknown label, or bad points.
    """
    try:
        content = read_json(path)
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    if recognize_json(content) != CITYSCAPES:
        raise UnreadableError(f"{path}: has no objects and size of Cityscapes")
    height, width = check_size((content.get("imgHeight"), content.get("imgWidth")), path)
    ids = {name: number for number, name in {**STUFF, **THINGS}.items()} | OTHERS
    with_instances = {*THINGS.values(), "caravan", "trailer"}
    numbers = Image.new("I", (width, height), 0)
    pen = ImageDraw.Draw(numbers)
    counts: dict[str, int] = {}
    for place, shape in enumerate(content["objects"]):
        shape = shape if isinstance(shape, Mapping) else {}
        label, where = shape.get("label"), f"{path}: object {place}"
        if shape.get("deleted") or label == LICENSE_PLATE:
            continue
        name = _class_name(label, ids, where)
        value = ids[name]
        if name in with_instances and name == label:
            value = value * DIVISOR + counts.get(name, 0)
            counts[name] = counts.get(name, 0) + 1
        points = check_points(shape.get("polygon"), height, width, where)
        if len(points) > 1:
            pen.polygon([(float(x), float(y)) for x, y in points], fill=value)
    return np.asarray(numbers, np.int32)


def _class_name(label: Any, ids: Mapping[str, int], where: str) -> str:
    if isinstance(label, str):
        for name in (label, label.removesuffix(GROUP)):
            if name in ids:
                return name
    raise UnreadableError(f"{where}: label {label!r} is none of Cityscapes")
