"""ADE20K: the full data set (2016 and 2021), and its scene parsing version with 150 classes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped, joined
from detr_d2.conversion.formats.semantic_png import read_class_map, value_labels
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import ImageInfo, UnreadableError, files_below, read_values
from detr_d2.ops.panoptic_ids import compact
from detr_d2.utils.files import read_json, read_lines

SEGMENTS, OBJECT_INFO = "_seg.png", "objectInfo150.txt"
JPEG = frozenset({".jpg", ".jpeg"})


@dataclass
class Ade20k(AnnotationFormat):
    """ADE20K: the full data set has instances, the scene parsing version a class map.

    In the full data set (`*_seg.png`) red and green are the class, blue is the instance; names come
    from the `_atr.txt` (2016) or `.json` (2021) beside each image. Parts of objects are not read.
    The classes are all names that occur, things unless named as stuff. In the scene parsing
    version (`annotations`, `objectInfo150.txt`) classes are stuff unless named as things.

    Args:
        folder: of the data set.
        part: a folder's name, as `training`; None = all.
    """

    name: ClassVar[str] = "ade20k"

    folder: str
    part: str | None = None

    def find_samples(self) -> list[Sample]:
        """Find images and masks, and read the names of the classes."""
        self._labels: dict[int, int] | None = None
        if os.path.isdir(os.path.join(self.folder, "annotations")):
            return self._find_scenes()
        samples, names = [], set()
        for name in files_below(self.folder, JPEG):
            stem = os.path.splitext(joined(self.folder, name))[0]
            if self.part is not None and self.part not in name.split("/"):
                continue
            notes = [stem + end for end in (".json", "_atr.txt") if os.path.isfile(stem + end)]
            if not notes or not os.path.isfile(stem + SEGMENTS):
                why = f"there is no {stem}{SEGMENTS}, or no .json or _atr.txt beside it"
                self.skipped.append(Skipped(joined(self.folder, name), why))
                continue
            try:
                names |= {label for _, label, _ in read_objects(notes[0])}
            except UnreadableError as error:
                self.skipped.append(Skipped(joined(self.folder, name), str(error)))
                continue
            source = (stem + SEGMENTS, notes[0])
            samples.append(Sample(name, joined(self.folder, name), source, source))
        self.classes = [SourceClass(label, label, True) for label in sorted(names)]
        return samples

    def _find_scenes(self) -> list[Sample]:
        info = os.path.join(self.folder, OBJECT_INFO)
        if not os.path.isfile(info):
            raise FileNotFoundError(f"{info}: no such file; it names the classes")
        self.classes = _read_object_info(info)
        self._labels = value_labels(self.classes, (), (0,))
        below = [self.part] if self.part else []
        images = os.path.join(self.folder, "images", *below)
        masks = os.path.join(self.folder, "annotations", *below)
        samples = []
        for name in files_below(images, JPEG):
            mask = joined(masks, os.path.splitext(name)[0] + ".png")
            image = joined(images, name)
            if os.path.isfile(mask):
                samples.append(Sample(name, image, mask, (mask,)))
            else:
                self.skipped.append(Skipped(image, f"there is no {mask}"))
        return samples

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Read the class map, or the instances and their names."""
        if self._labels is not None:
            return ImageAnnotation(
                info.size, read_class_map(self, sample.source, info, self._labels)
            )
        path, notes = sample.source
        values = self.align(read_values(path, colors=True), info, path)
        codes = (values & 255) // 10 * 256 + (values >> 8 & 255)
        # An instance is one value of blue; pixels without class are none.
        instances = np.where(codes > 0, values >> 16 & 255, 0).astype(np.int32)
        annotation = ImageAnnotation(info.size, instance_map=instances)
        names = _names_of_instances(instances, codes, read_objects(notes), path)
        annotation.instance_classes = {number: (name, False) for number, name in names.items()}
        return annotation


def read_objects(path: str) -> list[tuple[int, str, int | None]]:
    """Number, name and class index (None = not said) of the objects, without their parts.

    Raises:
        UnreadableError: malformed.
    """
    try:
        if path.endswith(".json"):
            return _read_json(path)
        return _read_text(path)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UnreadableError(f"{path}: no list of objects of ADE20K ({error})") from error


def _read_json(path: str) -> list[tuple[int, str, int | None]]:
    objects = read_json(path)["annotation"]["object"]
    # One object alone is written without a list around it.
    objects = [objects] if isinstance(objects, Mapping) else objects
    whole = [o for o in objects if int(o["parts"]["part_level"]) == 0]
    return [(int(o["id"]), str(o["name"]), int(o["name_ndx"])) for o in whole]


def _read_text(path: str) -> list[tuple[int, str, int | None]]:
    """Lines of: number # level of parts # occluded # names # raw name # attributes."""
    found: list[tuple[int, str, int | None]] = []
    for line in read_lines(path):
        cells = [cell.strip() for cell in line.split("#")]
        if len(cells) >= 5 and int(cells[1]) == 0:
            found.append((int(cells[0]), cells[3], None))
    return found


def _names_of_instances(
    instances: np.ndarray, codes: np.ndarray, objects: list[tuple[int, str, int | None]], path: str
) -> dict[int, str]:
    """Name of every instance number (value of blue).

    2021's objects say the index of their class, which is the code of the pixels. 2016's do not:
    there the n-th object is the n-th value of blue, if there are as many of both.
    """
    present, positions = compact(instances)
    numbers = [number for number in present if number > 0]
    by_index = {index: name for _, name, index in objects if index is not None}
    if not by_index and len(numbers) != len(objects):
        raise UnreadableError(
            f"{path}: {len(numbers)} instances, but {len(objects)} objects are named"
        )
    in_order = dict(zip(numbers, [name for _, name, _ in sorted(objects)], strict=False))
    names: dict[int, str] = {}
    code_of: dict[Any, int] = {}
    for number in numbers:
        of_instance = codes[positions == present.index(number)]
        code = int(np.bincount(of_instance).argmax())
        name = by_index.get(code) if by_index else in_order[number]
        if name is None or code_of.setdefault(name, code) != code:
            raise UnreadableError(
                f"{path}: instance {number} has class index {code}, which is not that of {name!r}"
            )
        names[number] = name
    return names


def _read_object_info(path: str) -> list[SourceClass]:
    """The classes: a table with tabs, with the columns Idx, Name and maybe Stuff."""
    rows = [line.split("\t") for line in read_lines(path) if line.strip()]
    header = [cell.strip() for cell in rows[0]] if rows else []
    if not {"Idx", "Name"} <= set(header):
        raise ValueError(f"{path}: no columns Idx and Name, but {header}")
    classes = []
    for row in rows[1:]:
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        isthing = cells.get("Stuff") == "0"
        number = int(cells["Idx"])
        classes.append(SourceClass(number, cells["Name"], isthing, number))
    return classes
