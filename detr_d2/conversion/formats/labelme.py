"""labelme JSON, one file an image."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from detr_d2.conversion.classes import NOT_A_CLASS, SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped
from detr_d2.conversion.formats.drawing import VOID, Drawing, cut_out
from detr_d2.conversion.formats.find_images import image_beside
from detr_d2.conversion.formats.labelme_shapes import decode_embedded, draw_shape
from detr_d2.data.image_io import IMAGE_SUFFIXES, ImageFacts, UnreadableError, files_below
from detr_d2.utils.files import read_json

NO_SHAPES = "no labelme file (it has no list of shapes)"


@dataclass
class Labelme(AnnotationFormat):
    """labelme annotations: polygons, rectangles, circles, lines, points and embedded masks.

    Labels are things unless named as stuff. Shapes of one label and one group are one instance.
    `__ignore__` is void, `_background_` is nothing at all.

    Args:
        folder: with JSON files (and images), in any subfolders.
        ignore: labels that are void like `__ignore__`.
        skip: labels that are not drawn at all.
    """

    name: ClassVar[str] = "labelme"

    folder: str
    ignore: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def scan(self) -> None:
        """Read the labels of all files, and find the images."""
        samples, labels = [], set()
        void, skipped = {"__ignore__", *self.ignore}, {*NOT_A_CLASS, *self.skip}
        for name in files_below(self.folder, frozenset({".json"})):
            path = str(Path(self.folder, *name.split("/")))
            try:
                content = read_labelme(path)
            except UnreadableError as error:
                self.skipped.append(Skipped(path, str(error).removeprefix(f"{path}: ")))
                continue
            labels |= {shape["label"] for shape in content["shapes"]} - void - skipped
            samples.append(self._sample(name, path, content))
        self.classes = [SourceClass(label, label, True) for label in sorted(labels)]
        self.settle(sample for sample in samples if sample is not None)

    def _sample(self, name: str, path: str, content: Mapping[str, Any]) -> Sample | None:
        named = content.get("imagePath")
        image = image_beside(path, named, _images_in(path, named))
        if image is None and not content.get("imageData"):
            self.skipped.append(Skipped(path, f"its image {named!r} is not found"))
            return None
        # The image in the file is what was annotated, but the file beside it is the original.
        suffix = os.path.splitext(image)[1] if image else ".png"
        if image is None and content["imageData"].startswith("/9j/"):
            suffix = ".jpg"
        return Sample(os.path.splitext(name)[0] + suffix, image, path, (path,))

    def image_bytes(self, sample: Sample) -> bytes:
        """The embedded image."""
        return decode_embedded(read_labelme(sample.source)["imageData"], sample.source)

    def read(self, sample: Sample, facts: ImageFacts) -> Drawing:
        """Draw the shapes of one image."""
        path = sample.source
        content = read_labelme(path)
        frame = self.frame(facts)
        size = (content.get("imageHeight") or frame[0], content.get("imageWidth") or frame[1])
        if size != frame and not self.resize:
            raise UnreadableError(
                f"{path}: says that its image has {size[1]}x{size[0]} pixels, but it has "
                f"{frame[1]}x{frame[0]}; scale the annotation with --resize"
            )
        drawing = Drawing(facts.size)
        for number, shape in enumerate(content["shapes"]):
            label = shape["label"]
            if label in self.skip or (label in NOT_A_CLASS and label != "__ignore__"):
                continue
            where = f"{path}: shape {number} ({label})"
            mask = self.fit(draw_shape(shape, size, where), facts, where)
            is_void = label in {"__ignore__", *self.ignore}
            group = shape.get("group_id")
            layer = cut_out(
                mask, VOID if is_void else label, group=None if group is None else ("group", group)
            )
            if layer is not None:
                drawing.layers.append(layer)
        return drawing


def _images_in(path: str, named: str | None) -> dict[str, str]:
    """Images in the folder of a JSON, and in the folder it names, by name and by stem."""
    here = os.path.dirname(path)
    found: dict[str, str] = {}
    parts = [here]
    if named:
        parts.append(os.path.join(here, os.path.dirname(named.replace("\\", "/"))))
    for folder in parts:
        for entry in _listing(os.path.normpath(folder)):
            found.setdefault(os.path.splitext(entry)[0].lower(), os.path.join(folder, entry))
            found.setdefault(entry.lower(), os.path.join(folder, entry))
    return found


def _listing(folder: str) -> list[str]:
    if not os.path.isdir(folder):
        return []
    names = sorted(os.listdir(folder))
    return [name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]


def read_labelme(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read one file.

    Raises:
        UnreadableError: not JSON, no labelme file, or a shape without label or points.
    """
    try:
        content = read_json(path)
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise UnreadableError(f"{path}: {NO_SHAPES}")
    for number, shape in enumerate(content["shapes"]):
        if not isinstance(shape.get("label"), str) or not isinstance(shape.get("points"), list):
            raise UnreadableError(f"{path}: shape {number} has no label or no points")
    return content
