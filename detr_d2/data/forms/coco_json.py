"""Form: COCO instance JSON with polygons, RLE or both, and for stuff, if wanted, a semantic PNG."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from pycocotools import mask as coco_mask

from detr_d2.data.classes import NOT_A_CLASS, SourceClass, read_json
from detr_d2.data.drawing import VOID, Drawing, Layer
from detr_d2.data.forms.base import Form, LeftOut, Sample, joined
from detr_d2.data.forms.find_photos import PhotoFinder
from detr_d2.data.forms.matching import Pattern, photo_keys
from detr_d2.data.forms.semantic_png import label_map, meanings_of
from detr_d2.data.mask_files import (
    MASK_SUFFIXES,
    PhotoFacts,
    UnreadableError,
    files_below,
    read_values,
)


@dataclass
class CocoJson(Form):
    """COCO annotations.

    Categories are things unless named as stuff. Those without an annotation that merely repeat a
    name or name the others' supercategory (placeholders of some exporters) are dropped; two
    annotated categories of one name are an error. `__ignore__` and `_background_` are void.

    Args:
        annotations: the JSON. It is held in memory as a whole.
        images: folder of the photos; file names are looked for in its subfolders too.
        semantic, semantic_pattern: folder and names of semantic masks for what lies under the
            annotations; `values` are their classes, `void` and `background` as in `SemanticPng`. A
            class of both sources is told by its name. Things of the semantic mask are void.
    """

    name: ClassVar[str] = "coco-json"
    default_things: ClassVar[str] = "void"

    annotations: str
    images: str
    semantic: str | None = None
    semantic_pattern: str = "{photo}"
    values: tuple[SourceClass, ...] = ()
    void: tuple[int, ...] = ()
    background: tuple[int, ...] = (0,)

    def scan(self) -> None:
        """Read the JSON, settle the categories and find the photos."""
        content = read_coco(self.annotations)
        categories = _sound_categories(content, self.annotations)
        self._void_keys = {c["id"] for c in categories if c["name"] in NOT_A_CLASS}
        classes = [_source_class(c) for c in categories if c["id"] not in self._void_keys]
        own = {c.name: c.key for c in classes}
        self._keys = [own.get(c.name, ("value", c.key)) for c in self.values]
        extra = [c for c in self.values if c.name not in own]
        classes += [replace(c, key=("value", c.key), wanted_id=None) for c in extra]
        self.classes = classes
        by_image: dict[Any, list[Mapping[str, Any]]] = {}
        for annotation in content["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        self._find_photos(content["images"], by_image)

    def _find_photos(
        self, images: list[dict[str, Any]], by_image: dict[Any, list[Mapping[str, Any]]]
    ) -> None:
        finder = PhotoFinder(self.images)
        masks = self._semantic_masks(finder.names)
        ids = [image["id"] for image in images]
        keep_ids = len(set(ids)) == len(ids) and all(isinstance(i, int) for i in ids)
        samples = []
        for image in images:
            try:
                name = finder.find(str(image["file_name"]))
            except ValueError as error:
                self.left_out.append(LeftOut(str(image["file_name"]), str(error)))
                continue
            if name is None:
                reason = f"photo not found below {self.images}"
                self.left_out.append(LeftOut(str(image["file_name"]), reason))
                continue
            size = (image.get("height"), image.get("width"))
            source = (size, by_image.pop(image["id"], []), masks.get(name))
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
        known = set(ids)
        for image_id in [i for i in by_image if i not in known]:
            reason = f"{len(by_image[image_id])} annotations of an image that is not listed"
            self.left_out.append(LeftOut(f"{self.annotations}: image_id {image_id!r}", reason))
        unlisted = sorted(set(finder.names) - {sample.name for sample in samples})
        unlisted = [joined(self.images, name) for name in unlisted if name not in masks]
        self.left_out += [LeftOut(name, f"not in {self.annotations}") for name in unlisted]
        self.settle(samples)

    def _semantic_masks(self, photos: list[str]) -> dict[str, str]:
        if self.semantic is None:
            return {}
        if not self.values:
            raise ValueError("coco-json: a semantic folder needs classes with pixel values")
        pattern, keys = Pattern(self.semantic_pattern), photo_keys(photos)
        found = [pattern.find(m, keys) for m in files_below(self.semantic, MASK_SUFFIXES)]
        return {match.photo: joined(self.semantic, match.mask) for match in found if match}

    def read(self, sample: Sample, facts: PhotoFacts) -> Drawing:
        """Draw the annotations of one photo."""
        size, annotations, semantic = sample.source
        stored = facts.size[::-1] if facts.orientation > 4 else facts.size
        frame = stored if self.exif == "stored" else facts.size
        if None not in size and tuple(size) != frame and not self.resize:
            raise UnreadableError(
                f"{self.annotations}: says that {sample.name} has {size[1]}x{size[0]} pixels, but "
                f"the photo has {frame[1]}x{frame[0]}; scale the annotations with --resize"
            )
        height, width = frame if None in size else size
        drawing = Drawing(facts.size)
        if semantic is not None:
            values = self.fit(read_values(semantic), facts, semantic)
            meanings = meanings_of(self.values, self.void, self.background)
            labels = label_map(values, meanings, semantic)
            drawing.labels = self._renumber(labels)
        keys = {c.key for c in self.classes}
        for annotation in annotations:
            key = annotation.get("category_id")
            if key not in keys and key not in self._void_keys:
                raise UnreadableError(
                    f"{self.annotations}: annotation {annotation.get('id')!r} of {sample.name} has "
                    f"category_id {key!r}, which is not among the categories"
                )
            where = f"{self.annotations}: annotation {annotation.get('id')!r} of {sample.name}"
            mask = self.fit(draw_segmentation(annotation, height, width, where), facts, where)
            crowd = bool(annotation.get("iscrowd", 0))
            layer = cut_out(mask, VOID if key in self._void_keys else key, crowd)
            if layer is not None:
                drawing.layers.append(layer)
        return drawing

    def _renumber(self, labels: np.ndarray) -> np.ndarray:
        """From positions in `values` to positions in `classes`."""
        order = {c.key: index + 1 for index, c in enumerate(self.classes)}
        table = np.array([-1, 0, *(order[key] for key in self._keys)], np.int16)
        return table[labels + 1]


def read_coco(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a COCO JSON and check that its lists are there."""
    content = read_json(path)
    needed = ("images", "annotations", "categories")
    lists = content if isinstance(content, dict) else {}
    missing = [key for key in needed if not isinstance(lists.get(key), list)]
    if missing:
        raise ValueError(f"{path}: no list {', '.join(missing)}; COCO files have {needed}")
    return content


def draw_segmentation(
    annotation: Mapping[str, Any], height: int, width: int, where: str
) -> np.ndarray:
    """Rasterise polygons, RLE or packed RLE as pycocotools does: (H, W) bool.

    Raises:
        UnreadableError: no such form; `where` names the annotation.
    """
    shape = annotation.get("segmentation")
    try:
        if isinstance(shape, list) and shape:
            # A polygon of two points or fewer has no area.
            polygons = [polygon for polygon in shape if len(polygon) >= 6]
            if not polygons:
                return np.zeros((height, width), bool)
            rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        elif isinstance(shape, Mapping) and isinstance(shape.get("counts"), list):
            rle = coco_mask.frPyObjects(shape, *shape["size"])
        elif isinstance(shape, Mapping) and "counts" in shape:
            rle = shape
        elif not shape and len(annotation.get("bbox") or ()) == 4:
            raise UnreadableError(f"{where}: only a box; a mask is needed")
        else:
            return np.zeros((height, width), bool)
        if tuple(rle["size"]) != (height, width):
            found = f"{rle['size'][1]}x{rle['size'][0]}"
            raise UnreadableError(f"{where}: RLE of {found} pixels, its image has {width}x{height}")
        return coco_mask.decode(rle).view(bool)
    except UnreadableError:
        raise
    except Exception as error:  # pycocotools raises bare Exceptions
        raise UnreadableError(f"{where}: segmentation cannot be drawn ({error})") from error


def cut_out(mask: np.ndarray, key: Any, crowd: bool = False, group: Any = None) -> Layer | None:
    """A layer of the smallest window around a mask (H, W); None when the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    piece = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    return Layer(key, piece, (top, left), group, crowd)


def _sound_categories(content: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """The categories without placeholders."""
    counts = Counter(annotation.get("category_id") for annotation in content["annotations"])
    categories = list(content["categories"])
    names = Counter(c["name"] for c in categories)
    parents = {c.get("supercategory") for c in categories if c.get("supercategory") != c["name"]}
    kept = [
        c
        for c in categories
        if counts[c["id"]] or (names[c["name"]] == 1 and c["name"] not in parents)
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
