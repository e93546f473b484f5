"""labelme JSON, one file per image."""

import io
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from PIL import Image

from detr_d2.conversion.formats.base import Sample, Skipped
from detr_d2.conversion.formats.embedded import decode_base64
from detr_d2.conversion.formats.recognize import recognize_json
from detr_d2.conversion.formats.shapes import ShapeFormat
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import IMAGE_SUFFIXES, ImageInfo, UnreadableError, files_below
from detr_d2.data.segmentations import check_points, rasterize_polygons
from detr_d2.utils.files import read_json

# A line is as wide as labelme draws it by default; a point has its radius. Pixels.
LINE_WIDTH, POINT_RADIUS = 10, 5
# The types of shapes, and how many points each needs.
POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1}
POINTS |= {"mask": 2, "points": 1, "oriented_rectangle": 4}


@dataclass
class Labelme(ShapeFormat):
    """labelme annotations: polygons, rectangles, circles, lines, points and masks.

    Args:
        folder: with JSON files (and images), in any subfolders.
    """

    name: ClassVar[str] = "labelme"

    folder: str

    def find_samples(self) -> list[Sample]:
        """Read the labels of all files, and find the images."""
        samples, labels = [], set()
        for name in files_below(self.folder, frozenset({".json"})):
            path = str(Path(self.folder, *name.split("/")))
            try:
                content = read_labelme(path)
            except UnreadableError as error:
                self.skipped.append(Skipped(path, str(error).removeprefix(f"{path}: ")))
                continue
            labels |= set(self.labels_in(content["shapes"]))
            samples.append(self._sample(name, path, content))
        self.classes = self.make_classes(sorted(labels))
        return [sample for sample in samples if sample is not None]

    def _sample(self, name: str, path: str, content: Mapping[str, Any]) -> Sample | None:
        named = content.get("imagePath")
        image = find_image(path, named)
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
        return decode_base64(read_labelme(sample.source)["imageData"], sample.source)

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Rasterize the shapes of one image."""
        path = sample.source
        content = read_labelme(path)
        size = (content.get("imageHeight"), content.get("imageWidth"))
        return self.read_shapes(content["shapes"], size, info, path)

    def label_of(self, shape: Any) -> str:
        """Its label."""
        label = shape.get("label") if isinstance(shape, Mapping) else None
        if not isinstance(label, str):
            raise UnreadableError("has no label")
        return label

    def group_of(self, shape: Any) -> Hashable:
        """Its group, a number or a name."""
        group = shape.get("group_id")
        return group if isinstance(group, Hashable) else None

    def rasterize(self, shape: Any, size: tuple[int, int], where: str) -> np.ndarray:
        """Rasterize a shape of any type."""
        return rasterize_shape(shape, size, where)


def find_image(path: str, named: str | None) -> str | None:
    """Find the image of an annotation file: the one it names, else the one of the same stem.

    Args:
        path: the annotation file.
        named: the image as the file names it, relative to its folder.
    """
    here = os.path.dirname(path)
    folders = [here]
    if named:
        folders.append(os.path.join(here, os.path.dirname(named.replace("\\", "/"))))
    images: dict[str, str] = {}
    for folder in folders:
        for entry in _images_in(os.path.normpath(folder)):
            images.setdefault(os.path.splitext(entry)[0].lower(), os.path.join(folder, entry))
            images.setdefault(entry.lower(), os.path.join(folder, entry))
    wanted = os.path.basename((named or "").replace("\\", "/"))
    stem = os.path.splitext(os.path.basename(path))[0]
    for key in (wanted, os.path.splitext(wanted)[0], stem):
        if key and key.lower() in images:
            return images[key.lower()]
    return None


def _images_in(folder: str) -> list[str]:
    if not os.path.isdir(folder):
        return []
    names = sorted(os.listdir(folder))
    return [name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]


def read_labelme(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read one file.

    Raises:
        UnreadableError: not JSON, or no labelme file.
    """
    try:
        content = read_json(path)
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        found = recognize_json(content)
        why = f"this is {found}" if found else "it has no list of shapes"
        raise UnreadableError(f"{path}: no labelme file ({why})")
    return content


def rasterize_shape(shape: Mapping[str, Any], size: tuple[int, int], where: str) -> np.ndarray:
    """Rasterize one shape: (H, W) bool.

    Raises:
        UnreadableError: an unknown type of shape, or too few points.
    """
    kind = shape.get("shape_type") or "polygon"
    if not isinstance(kind, str) or kind not in POINTS:
        raise UnreadableError(f"{where}: shape_type {kind!r}, allowed: {sorted(POINTS)}")
    points = check_points(shape.get("points"), *size, where)
    if len(points) < POINTS[kind]:
        raise UnreadableError(f"{where}: {len(points)} points, a {kind} has {POINTS[kind]} or more")
    if kind == "mask":
        return _embedded_mask(shape, points, size, where)
    if kind in ("polygon", "rectangle", "oriented_rectangle"):
        if kind == "rectangle":
            (x0, y0), (x1, y1) = points[:2]
            points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        return rasterize_polygons([points.ravel().tolist()], *size)
    mask = np.zeros(size, np.uint8)
    pixels = [(round(x), round(y)) for x, y in points]
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        cv2.circle(mask, pixels[0], round(radius), 1, -1)
    elif kind in ("point", "points"):
        for pixel in pixels:
            cv2.circle(mask, pixel, POINT_RADIUS, 1, -1)
    else:
        cv2.polylines(mask, [np.array(pixels, np.int32)], False, 1, LINE_WIDTH)
    return mask.view(bool)


def _embedded_mask(
    shape: Mapping[str, Any], points: np.ndarray, size: tuple[int, int], where: str
) -> np.ndarray:
    """A mask shape: a PNG of the rectangle from its first to its second point, both inclusive."""
    try:
        with Image.open(io.BytesIO(decode_base64(shape.get("mask"), where))) as png:
            window = np.asarray(png.convert("L")) > 0
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableError(f"{where}: its mask is no image ({error})") from error
    left, top = (round(value) for value in points[0])
    mask = np.zeros(size, bool)
    height, width = window.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise UnreadableError(f"{where}: its mask of {width}x{height} at {left},{top} is outside")
    mask[top : top + height, left : left + width] = window
    return mask
