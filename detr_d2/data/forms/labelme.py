"""Form: labelme JSON, one file a photo."""

import base64
import binascii
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from PIL import Image

from detr_d2.data.classes import NOT_A_CLASS, SourceClass, read_json
from detr_d2.data.drawing import VOID, Drawing, Layer
from detr_d2.data.forms.base import Form, LeftOut, Sample
from detr_d2.data.forms.coco_json import cut_out, draw_segmentation
from detr_d2.data.forms.find_photos import photo_beside
from detr_d2.data.mask_files import PHOTO_SUFFIXES, PhotoFacts, UnreadableError, files_below

# A line is as wide as labelme draws it by default; a point has its radius.
LINE_WIDTH, POINT_RADIUS = 10, 5
NO_SHAPES = "no labelme file (it has no list of shapes)"


@dataclass
class Labelme(Form):
    """labelme annotations: polygons, rectangles, circles, lines, points and embedded masks.

    Labels are things unless named as stuff. Shapes of one label and one group are one instance.
    `__ignore__` is void, `_background_` is nothing at all.

    Args:
        folder: with JSON files (and photos), in any subfolders.
        ignore: labels that are void like `__ignore__`.
        skip: labels that are not drawn at all.
    """

    name: ClassVar[str] = "labelme"

    folder: str
    ignore: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def scan(self) -> None:
        """Read the labels of all files, and find the photos."""
        samples, labels = [], set()
        void, skipped = {"__ignore__", *self.ignore}, {*NOT_A_CLASS, *self.skip}
        for name in files_below(self.folder, frozenset({".json"})):
            path = str(Path(self.folder, *name.split("/")))
            try:
                content = read_labelme(path)
            except UnreadableError as error:
                self.left_out.append(LeftOut(path, str(error).removeprefix(f"{path}: ")))
                continue
            labels |= {shape["label"] for shape in content["shapes"]} - void - skipped
            samples.append(self._sample(name, path, content))
        self.classes = [SourceClass(label, label, True) for label in sorted(labels)]
        self.settle(sample for sample in samples if sample is not None)

    def _sample(self, name: str, path: str, content: Mapping[str, Any]) -> Sample | None:
        named = content.get("imagePath")
        photo = photo_beside(path, named, _photos_in(path, named))
        if photo is None and not content.get("imageData"):
            self.left_out.append(LeftOut(path, f"its photo {named!r} is not found"))
            return None
        # The photo in the file is what was annotated, but the file beside it is the original.
        suffix = os.path.splitext(photo)[1] if photo else ".png"
        if photo is None and content["imageData"].startswith("/9j/"):
            suffix = ".jpg"
        return Sample(os.path.splitext(name)[0] + suffix, photo, path, (path,))

    def photo_bytes(self, sample: Sample) -> bytes:
        """The embedded photo."""
        return _decode(read_labelme(sample.source)["imageData"], sample.source)

    def read(self, sample: Sample, facts: PhotoFacts) -> Drawing:
        """Draw the shapes of one photo."""
        path = sample.source
        content = read_labelme(path)
        stored = facts.size[::-1] if facts.orientation > 4 else facts.size
        frame = stored if self.exif == "stored" else facts.size
        size = (content.get("imageHeight") or frame[0], content.get("imageWidth") or frame[1])
        if size != frame and not self.resize:
            raise UnreadableError(
                f"{path}: says that its photo has {size[1]}x{size[0]} pixels, but it has "
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
            layer: Layer | None = cut_out(
                mask, VOID if is_void else label, group=None if group is None else ("group", group)
            )
            if layer is not None:
                drawing.layers.append(layer)
        return drawing


def _photos_in(path: str, named: str | None) -> dict[str, str]:
    """Photos in the folder of a JSON, and in the folder it names, by name and by stem."""
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
    return [name for name in names if os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES]


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


def draw_shape(shape: Mapping[str, Any], size: tuple[int, int], where: str) -> np.ndarray:
    """Rasterise one shape: (H, W) bool.

    Raises:
        UnreadableError: a kind of shape that labelme does not have, or too few points.
    """
    kind = shape.get("shape_type") or "polygon"
    points = np.array(shape["points"], np.float64).reshape(-1, 2)
    needed = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1}
    needed |= {"mask": 2, "points": 1}
    if kind not in needed:
        raise UnreadableError(f"{where}: shape_type {kind!r}, allowed: {sorted(needed)}")
    if len(points) < needed[kind]:
        raise UnreadableError(f"{where}: {len(points)} points, a {kind} has {needed[kind]} or more")
    if kind == "mask":
        return _embedded_mask(shape, points, size, where)
    if kind in ("polygon", "rectangle"):
        if kind == "rectangle":
            (x0, y0), (x1, y1) = points[:2]
            points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        return draw_segmentation({"segmentation": [points.ravel().tolist()]}, *size, where)
    canvas = np.zeros(size, np.uint8)
    pixels = [(round(x), round(y)) for x, y in points]
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        cv2.circle(canvas, pixels[0], round(radius), 1, -1)
    elif kind in ("point", "points"):
        for pixel in pixels:
            cv2.circle(canvas, pixel, POINT_RADIUS, 1, -1)
    else:
        cv2.polylines(canvas, [np.array(pixels, np.int32)], False, 1, LINE_WIDTH)
    return canvas.view(bool)


def _embedded_mask(
    shape: Mapping[str, Any], points: np.ndarray, size: tuple[int, int], where: str
) -> np.ndarray:
    """A mask shape: a PNG of the rectangle from its first to its second point, both inclusive."""
    try:
        with Image.open(io.BytesIO(_decode(shape.get("mask"), where))) as png:
            mask = np.asarray(png.convert("L")) > 0
    except (OSError, SyntaxError) as error:
        raise UnreadableError(f"{where}: its mask is no image ({error})") from error
    left, top = (round(value) for value in points[0])
    canvas = np.zeros(size, bool)
    height, width = mask.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise UnreadableError(f"{where}: its mask of {width}x{height} at {left},{top} is outside")
    canvas[top : top + height, left : left + width] = mask
    return canvas


def _decode(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=False)
    except (TypeError, binascii.Error) as error:
        raise UnreadableError(f"{where}: embedded image cannot be decoded ({error})") from error
