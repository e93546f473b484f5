"""CVAT XML 1.1, "for images" and "for video"."""

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from detr_d2.conversion.formats.base import Skipped
from detr_d2.conversion.formats.cvat_tracks import frames_of_tracks, number_frames
from detr_d2.conversion.formats.cvat_xml import CvatMeta, Track, XmlShape, parse_cvat
from detr_d2.conversion.formats.image_folder import ImageFinder
from detr_d2.conversion.formats.image_list import ImageListFormat, ListedImage
from detr_d2.conversion.formats.shapes import fill_ellipse, fill_polygon
from detr_d2.data.image_io import UnreadableError
from detr_d2.data.segmentations import check_size, fill_runs

NO_AREA = {
    "box": "only a box; a mask is needed",
    "polyline": "a polyline has no area",
    "points": "points have no area",
    "cuboid": "a cuboid is no mask",
    "skeleton": "a skeleton has no area",
    "cell": "a cell of a grid is no mask",
}


@dataclass
class Cvat(ImageListFormat):
    """CVAT XML 1.1, for images and for video: polygons, masks, ellipses.

    Shapes of one label and one group (other than 0) are one instance. `z_order` says what lies on
    top with the order "annotation". A video's shapes are those that the file has for a frame: CVAT
    writes one for every frame in which an object is visible. Frames without are images without
    objects.

    Args:
        frames: how the images of a video are named, without extension: {n} is the frame's number
            as CVAT counts, from 0. CVAT's own exports need no other.
    """

    name: ClassVar[str] = "cvat"

    frames: str = "frame_{n}"

    def listed(self, finder: ImageFinder) -> Iterable[ListedImage]:
        """The images of the file, or the frames of the video."""
        meta, images, tracks = parse_cvat(self.annotations)
        self.classes = self.make_classes(meta.labels)
        if not meta.is_video:
            return [
                ListedImage((name,), size, tuple(sorted(shapes, key=_z_order)))
                for name, size, shapes in images
            ]
        return self._video(meta, tracks, finder)

    def _video(
        self, meta: CvatMeta, tracks: list[Track], finder: ImageFinder
    ) -> Iterable[ListedImage]:
        names = number_frames(self.frames, finder.names, meta, self.annotations)
        visible = frames_of_tracks(tracks, meta, names)
        if meta.last is not None and meta.last - max(names) >= meta.step:
            reason = f"its stop_frame is {meta.last}, but the last image is that of {max(names)}"
            self.skipped.append(Skipped(self.annotations, reason))
        for frame in sorted(names.keys() | visible.keys()):
            shapes = tuple(sorted(visible.get(frame, []), key=_z_order))
            name = names.get(frame, self.frames.replace("{n}", f"{frame:06d}"))
            yield ListedImage((name,), meta.size, shapes)

    def label_of(self, shape: XmlShape) -> str:
        """Its label."""
        if not shape.label:
            raise UnreadableError("has no label")
        return shape.label

    def group_of(self, shape: XmlShape) -> Hashable:
        """Its group; 0 is none."""
        group = shape.values.get("group_id", "0")
        return None if group in ("", "0") else group

    def rasterize(self, shape: XmlShape, size: tuple[int, int], where: str) -> np.ndarray:
        """Rasterize a polygon, a mask or an ellipse."""
        if shape.fault is not None:
            raise UnreadableError(f"{where}: {shape.fault}")
        values = shape.values
        if shape.kind == "polygon":
            pairs = re.split(r"[;,]", values.get("points", ""))
            return fill_polygon(_numbers(pairs, where), size, where)
        if shape.kind == "mask":
            return _mask(values, size, where)
        if shape.kind == "ellipse":
            keys = ("cx", "cy", "rx", "ry", "rotation")
            numbers = _numbers([values.get(key, "0") for key in keys], where)
            return fill_ellipse(numbers[:2], numbers[2:4], size, where, numbers[4])
        why = NO_AREA.get(shape.kind, f"{shape.kind} is unknown")
        raise UnreadableError(f"{where}: {why}")


def _z_order(shape: XmlShape) -> int:
    text = shape.values.get("z_order", "0")
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else 0


def _numbers(texts: list[str], where: str) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise UnreadableError(f"{where}: {error}") from error


def _mask(values: dict[str, str], size: tuple[int, int], where: str) -> np.ndarray:
    """A mask: runs of equal pixels, row by row, in the rectangle that encloses it."""
    numbers: list[Any] = []
    for key in ("left", "top", "width", "height"):
        text = values.get(key, "")
        if not re.fullmatch(r"\d{1,9}(\.0*)?", text):
            raise UnreadableError(f"{where}: {key} {text!r}; must be a number of pixels")
        numbers.append(int(float(text)))
    left, top, width, height = numbers
    height, width = check_size((height, width), where)
    if top + height > size[0] or left + width > size[1]:
        raise UnreadableError(
            f"{where}: its mask of {width}x{height} at {left},{top} is outside of its image of "
            f"{size[1]}x{size[0]}"
        )
    runs = re.split(r"\s*,\s*", values.get("rle", "").strip())
    if not all(re.fullmatch(r"\d{1,10}", run) for run in runs):
        raise UnreadableError(f"{where}: RLE {values.get('rle', '')[:40]!r} is no list of numbers")
    mask = np.zeros(size, bool)
    window = fill_runs([int(run) for run in runs], height, width, where)
    mask[top : top + height, left : left + width] = window
    return mask
