"""Supervisely: a project's folder with meta.json and an annotation file for each image."""

import io
import os
import zlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from detr_d2.conversion.formats.base import Sample, Skipped, joined
from detr_d2.conversion.formats.embedded import decode_base64
from detr_d2.conversion.formats.recognize import SUPERVISELY, recognize_json
from detr_d2.conversion.formats.shapes import ShapeFormat, fill_polygon, fill_rectangle
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import IMAGE_SUFFIXES, ImageInfo, UnreadableError, files_below
from detr_d2.data.segmentations import check_size
from detr_d2.utils.files import read_json

# The bytes of a bitmap's PNG, unpacked: more are an attack.
MOST_BYTES = 2**26


@dataclass
class Supervisely(ShapeFormat):
    """A Supervisely project of images: bitmaps, polygons with holes, rectangles.

    Below the project there are data sets, each with `img` and `ann`: `ann/a.jpg.json` is of
    `img/a.jpg`. Objects of one class that are bound to one instance are one instance.

    Args:
        folder: of the project, with `meta.json`.
    """

    name: ClassVar[str] = "supervisely"

    folder: str

    def find_samples(self) -> list[Sample]:
        """Read the classes of the project and find images and annotations."""
        meta = os.path.join(self.folder, "meta.json")
        content = read_json(meta)
        classes = content.get("classes") if isinstance(content, Mapping) else None
        if not isinstance(classes, list):
            raise ValueError(f"{meta}: no meta.json of Supervisely, it has no list of classes")
        titles = [c.get("title") if isinstance(c, Mapping) else None for c in classes]
        if not all(isinstance(title, str) for title in titles):
            raise ValueError(f"{meta}: a class has no title")
        self.classes = self.make_classes(titles)  # type: ignore[arg-type]
        samples = []
        annotated = set()
        for name in files_below(self.folder, frozenset({".json"})):
            *folders, file_name = name.split("/")
            if folders[-1:] != ["ann"] or len(folders) < 2:
                continue
            folders.pop()
            image = self._image_of("/".join(folders), file_name.removesuffix(".json"))
            path = joined(self.folder, name)
            if image is None:
                self.skipped.append(Skipped(path, "its image is not found in img beside ann"))
                continue
            annotated.add(image)
            shown = "/".join([*folders, image.rsplit("/", 1)[-1]])
            samples.append(Sample(shown, joined(self.folder, image), path, (path, meta)))
        images = [n for n in files_below(self.folder, IMAGE_SUFFIXES) if "/img/" in n]
        self.skipped += [
            Skipped(joined(self.folder, name), "no annotation file belongs to it")
            for name in images
            if name not in annotated
        ]
        return samples

    def _image_of(self, dataset: str, name: str) -> str | None:
        """Path of the image below the project; older files are named without its extension."""
        for suffix in ("", *sorted(IMAGE_SUFFIXES)):
            path = f"{dataset}/img/{name}{suffix}"
            if os.path.isfile(joined(self.folder, path)):
                return path
        return None

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Rasterize the objects of one image."""
        path = sample.source
        try:
            content = read_json(path)
        except ValueError as error:
            raise UnreadableError(str(error)) from error
        if recognize_json(content) != SUPERVISELY:
            found = recognize_json(content) or "unknown"
            raise UnreadableError(f"{path}: no annotation of Supervisely (this is {found})")
        size = content["size"] if isinstance(content["size"], Mapping) else {}
        return self.read_shapes(
            content["objects"], (size.get("height"), size.get("width")), info, path
        )

    def label_of(self, shape: Any) -> str:
        """The title of its class."""
        label = shape.get("classTitle") if isinstance(shape, Mapping) else None
        known = {c.key for c in self.classes}
        if not isinstance(label, str):
            raise UnreadableError("has no classTitle")
        if label not in known and label not in self.ignore and not self.is_skipped(label):
            raise UnreadableError(f"has class {label!r}, which is not in meta.json")
        return label

    def group_of(self, shape: Any) -> Hashable:
        """The instance that it is bound to."""
        instance = shape.get("instance")
        return instance if isinstance(instance, (str, int)) else None

    def rasterize(self, shape: Any, size: tuple[int, int], where: str) -> np.ndarray:
        """Rasterize a bitmap, a polygon or a rectangle."""
        kind = shape.get("geometryType")
        # Files of before geometryType was written have one or the other.
        kind = kind or ("bitmap" if shape.get("bitmap") else "polygon")
        if kind == "bitmap":
            return _bitmap(shape.get("bitmap"), size, where)
        points = shape.get("points")
        outline = points.get("exterior") if isinstance(points, Mapping) else None
        if kind == "polygon" and isinstance(outline, list):
            return fill_polygon(outline, size, where, points.get("interior") or ())
        if kind == "rectangle" and isinstance(outline, list) and len(outline) == 2:
            return fill_rectangle(outline, size, where)
        raise UnreadableError(f"{where}: a {kind} is no mask")


def _bitmap(bitmap: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """A bitmap: a PNG, packed by zlib, and the place of its upper left pixel as x, y."""
    origin = bitmap.get("origin") if isinstance(bitmap, Mapping) else None
    if not isinstance(origin, list) or [type(side) for side in origin] != [int, int]:
        raise UnreadableError(f"{where}: its bitmap has no origin x, y")
    unpacker = zlib.decompressobj()
    try:
        png = unpacker.decompress(decode_base64(bitmap.get("data"), where), MOST_BYTES)
        with Image.open(io.BytesIO(png)) as image:
            check_size(image.size[::-1], where)
            # The alpha channel is the mask where there is one.
            transparent = image.mode in ("RGBA", "LA") or "transparency" in image.info
            values = np.asarray(image.convert("RGBA"))[..., 3 if transparent else 0]
    except UnreadableError:
        raise
    except (zlib.error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableError(f"{where}: its bitmap is no packed PNG ({error})") from error
    (left, top), (height, width) = origin, values.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise UnreadableError(f"{where}: its bitmap of {width}x{height} at {left},{top} is outside")
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = values > 0
    return mask
