"""COCO instance JSON with polygons or RLE, and optionally semantic PNGs for stuff."""

import os
from array import array
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from detr_d2.conversion.classes import NOT_A_CLASS, SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped, joined
from detr_d2.conversion.formats.coco_index import CocoIndex
from detr_d2.conversion.formats.image_folder import ImageFinder
from detr_d2.conversion.formats.matching import masks_by_image
from detr_d2.conversion.formats.semantic_png import read_class_map, value_labels
from detr_d2.conversion.image_annotation import VOID, ImageAnnotation
from detr_d2.data.image_io import ImageInfo, UnreadableError
from detr_d2.data.segmentations import check_size, rasterize_segmentation


@dataclass
class CocoJson(AnnotationFormat):
    """COCO annotations.

    Categories are things unless named as stuff. Those without an annotation that merely repeat a
    name or name the others' supercategory (placeholders of some exporters) are dropped; two
    annotated categories of one name are an error. `__ignore__` and `_background_` are void.

    Args:
        annotations: the JSON. Only the places of its annotations are held in memory.
        images: folder of the images; file names are looked for in its subfolders too.
        semantic, semantic_pattern: folder and names of semantic masks for what lies under the
            annotations; `values` are their classes, `void` and `background` as in `SemanticPng`. A
            class of both sources is told by its name. Things of the semantic mask are void.
    """

    name: ClassVar[str] = "coco-json"
    default_things: ClassVar[str] = "void"

    annotations: str
    images: str
    semantic: str | None = None
    semantic_pattern: str = "{image}"
    values: tuple[SourceClass, ...] = ()
    void: tuple[int, ...] = ()
    background: tuple[int, ...] | None = None

    def find_samples(self) -> list[Sample]:
        """Index the JSON, choose the categories and find the images."""
        index = CocoIndex(self.annotations, self.progress)
        self._file = index.file
        reason = "has no image_id or no category_id"
        self.skipped += [
            Skipped(f"{self.annotations}: annotation {place}", reason) for place in index.incomplete
        ]
        categories = _sound_categories(index.categories, index.counts, self.annotations)
        self._void_keys = {c["id"] for c in categories if c["name"] in NOT_A_CLASS}
        classes = [_source_class(c) for c in categories if c["id"] not in self._void_keys]
        own = {c.name: c.key for c in classes}
        self._labels = value_labels(self.values, self.void, self.background)
        self._keys = [own.get(c.name, ("value", c.key)) for c in self.values]
        extra = [c for c in self.values if c.name not in own]
        classes += [replace(c, key=("value", c.key), wanted_id=None) for c in extra]
        self.classes = classes
        return self._find_images(index.images, index.places)

    def _find_images(
        self, images: list[dict[str, Any]], by_image: "dict[str, array[int]]"
    ) -> list[Sample]:
        finder = ImageFinder(self.images)
        masks = self._semantic_masks(finder.names)
        ids = [image["id"] for image in images]
        keep_ids = len(set(ids)) == len(ids) and all(isinstance(i, int) for i in ids)
        samples = []
        for image in images:
            try:
                name = finder.find(str(image["file_name"]))
            except ValueError as error:
                self.skipped.append(Skipped(str(image["file_name"]), str(error)))
                continue
            if name is None:
                reason = f"image not found below {self.images}"
                self.skipped.append(Skipped(str(image["file_name"]), reason))
                continue
            size = (image.get("height"), image.get("width"))
            source = (size, by_image.pop(str(image["id"]), array("q")), masks.get(name))
            inputs = (masks[name],) if name in masks else ()
            samples.append(
                Sample(
                    name,
                    joined(self.images, name),
                    source,
                    inputs,
                    image["id"] if keep_ids else None,
                )
            )
        known = set(map(str, ids))
        for image_id in [i for i in by_image if i not in known]:
            reason = f"{len(by_image[image_id]) // 2} annotations of an image that is not listed"
            self.skipped.append(Skipped(f"{self.annotations}: image_id {image_id}", reason))
        unlisted = sorted(set(finder.names) - {sample.name for sample in samples})
        paths = [joined(self.images, name) for name in unlisted]
        # Semantic masks may lie among the images.
        files = {os.path.realpath(mask) for mask in masks.values()}
        self.skipped += [
            Skipped(path, f"not in {self.annotations}")
            for path in paths
            if os.path.realpath(path) not in files
        ]
        return samples

    def _semantic_masks(self, images: list[str]) -> dict[str, str]:
        if self.semantic is None:
            return {}
        if not self.values:
            raise ValueError("coco-json: a semantic folder needs classes with pixel values")
        return masks_by_image(self.semantic, self.semantic_pattern, images)

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Rasterize the annotations of one image."""
        size, places, semantic = sample.source
        expected = self.annotated_size(info)
        said = expected if None in size else check_size(size, self.annotations)
        if hint := self.misfit(said, info):
            raise UnreadableError(
                f"{self.annotations}: says that {sample.name} has {said[1]}x{said[0]} pixels, but "
                f"the image has {expected[1]}x{expected[0]}; {hint}"
            )
        annotation = ImageAnnotation(info.size)
        if semantic is not None:
            class_map = read_class_map(self, semantic, info, self._labels)
            annotation.class_map = self._renumber(class_map)
        keys = {c.key for c in self.classes}
        for entry in self._file.read(places):
            with self.one_annotation(annotation):
                self._add_region(annotation, entry, said, sample, info, keys)
        return annotation

    def _add_region(
        self,
        annotation: ImageAnnotation,
        entry: Mapping[str, Any],
        size: tuple[int, int],
        sample: Sample,
        info: ImageInfo,
        keys: set[Hashable],
    ) -> None:
        """Rasterize one annotation of an image of a size (H, W)."""
        key = entry.get("category_id")
        where = f"{self.annotations}: annotation {entry.get('id')!r} of {sample.name}"
        if key not in keys and key not in self._void_keys:
            raise UnreadableError(
                f"{where} has category_id {key!r}, which is not among the categories"
            )
        mask = self.align(rasterize_segmentation(entry, *size, where), info, where)
        crowd = bool(entry.get("iscrowd", 0))
        annotation.add_region(mask, VOID if key in self._void_keys else key, crowd)

    def _renumber(self, labels: np.ndarray) -> np.ndarray:
        """From positions in `values` to positions in `classes`."""
        order = {c.key: index + 1 for index, c in enumerate(self.classes)}
        table = np.array([-1, 0, *(order[key] for key in self._keys)], np.int16)
        return table[labels + 1]


def _sound_categories(
    categories: list[dict[str, Any]], counts: Mapping[int | str, int], path: str
) -> list[dict[str, Any]]:
    """The categories without placeholders, by the number of annotations of each."""
    names = Counter(c["name"] for c in categories)
    parents = {c.get("supercategory") for c in categories if c.get("supercategory") != c["name"]}
    kept = [
        c
        for c in categories
        if counts.get(c["id"]) or (names[c["name"]] == 1 and c["name"] not in parents)
    ]
    for what in ("name", "id"):
        twice = [value for value, n in Counter(c[what] for c in kept).items() if n > 1]
        if twice:
            raise ValueError(f"{path}: several annotated categories have the {what} {twice}")
    return kept


def _source_class(category: Mapping[str, Any]) -> SourceClass:
    return SourceClass(
        key=category["id"],
        name=category["name"],
        isthing=bool(category.get("isthing", True)),
        wanted_id=category["id"],
        supercategory=str(category.get("supercategory") or ""),
    )
