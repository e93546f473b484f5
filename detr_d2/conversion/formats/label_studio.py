"""Label Studio: the JSON export, with polygons, ellipses, rectangles and brush strokes."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from detr_d2.conversion.formats.brush import decode_brush
from detr_d2.conversion.formats.image_folder import ImageFinder
from detr_d2.conversion.formats.image_list import ImageListFormat, ListedImage
from detr_d2.conversion.formats.recognize import LABEL_STUDIO, recognize_json
from detr_d2.conversion.formats.shapes import fill_ellipse, fill_polygon
from detr_d2.data.image_io import IMAGE_SUFFIXES, UnreadableError
from detr_d2.utils.files import read_json

# Uploaded files get eight hexadecimal digits and a hyphen before their name.
UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
# Results that say something about the whole image, or about another region.
NO_REGIONS = frozenset({"choices", "taxonomy", "rating", "textarea", "number", "relation"})
NO_AREA = {
    "rectangle": "only a box; a mask is needed",
    "keypoint": "a keypoint has no area",
    "vector": "a vector has no area",
}
PERCENT = 100


@dataclass
class LabelStudio(ImageListFormat):
    """The JSON export of Label Studio: polygons, ellipses, brush masks.

    Coordinates are percent of the image's sides. A task with several annotations counts by the one
    that is marked as ground truth; without such a mark it is rejected. Cancelled ones and
    predictions do not count.

    Args:
        image_key: the key of the task's data that is the image; None = the only one that is.
    """

    name: ClassVar[str] = "label-studio"

    image_key: str | None = None

    def listed(self, finder: ImageFinder) -> Iterable[ListedImage]:
        """The images of the tasks."""
        tasks = read_json(self.annotations)
        found = recognize_json(tasks)
        if found != LABEL_STUDIO:
            raise ValueError(
                f'{self.annotations}: no export "JSON" of Label Studio (this is '
                f"{found or 'unknown'})"
            )
        images = []
        for task in tasks:
            names = self._names(task)
            results, fault = _one_annotation(task)
            shapes, size = _regions(results)
            images.append(ListedImage(names, size, tuple(shapes), fault))
        return images

    def _names(self, task: Mapping[str, Any]) -> tuple[str, ...]:
        """What the image may be called: as given, without Label Studio's prefix, and bare."""
        data = task.get("data")
        data = data if isinstance(data, Mapping) else {}
        urls = {key: value for key, value in data.items() if _is_image(value)}
        if self.image_key is not None:
            urls = {self.image_key: data.get(self.image_key)}
        if len(urls) != 1 or not isinstance(next(iter(urls.values())), str):
            raise ValueError(
                f"{self.annotations}: task {task.get('id')}: say which key of its data is the "
                f"image (--image-key): {sorted(map(str, data))}"
            )
        path = _path_of(next(iter(urls.values())))
        bare = path.rsplit("/", 1)[-1]
        return tuple(dict.fromkeys([path, bare, UPLOADED.sub("", bare)]))

    def label_of(self, shape: Any) -> str:
        """Its one label."""
        labels = shape["labels"]
        if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
            raise UnreadableError(f"has labels {labels!r}; must be one")
        return labels[0]

    def rasterize(self, shape: Any, size: tuple[int, int], where: str) -> np.ndarray:
        """Rasterize a polygon, an ellipse or a brush mask."""
        kind, value = shape["kind"], shape["value"]
        if shape["rotation"]:
            raise UnreadableError(f"{where}: drawn on an image turned by {shape['rotation']}")
        height, width = size
        if kind == "brush":
            if value.get("format") != "rle":
                raise UnreadableError(f"{where}: brush without format rle")
            return decode_brush(value.get("rle"), size, where)
        if kind == "polygon":
            points = value.get("points")
            if not isinstance(points, list) or not all(_is_pair(point) for point in points):
                raise UnreadableError(f"{where}: points are no list of x, y")
            corners = [(x * width / PERCENT, y * height / PERCENT) for x, y in points]
            return fill_polygon(corners, size, where)
        if kind == "ellipse":
            pair = [value.get("x"), value.get("y")], [value.get("radiusX"), value.get("radiusY")]
            angle = value.get("rotation", 0)
            if not all(map(_is_pair, pair)) or not isinstance(angle, (int, float)):
                raise UnreadableError(f"{where}: needs x, y, radiusX, radiusY and rotation")
            center, radii = ([x * width / PERCENT, y * height / PERCENT] for x, y in pair)
            return fill_ellipse(center, radii, size, where, angle)
        raise UnreadableError(f"{where}: {NO_AREA.get(kind, f'{kind} is unknown')}")


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(side, (int, float)) for side in value)
    )


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and os.path.splitext(_path_of(value))[1].lower() in IMAGE_SUFFIXES


def _path_of(url: str) -> str:
    """The path of an image in what a task's data say: a URL, or a file of the server's own."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # Brackets that hold no address: its end may be an image's name nevertheless.
        return url
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path).lstrip("/")


def _one_annotation(task: Mapping[str, Any]) -> tuple[list[Any], str]:
    """The results of the annotation of a task that counts, or why there is none."""
    annotations = [a for a in task["annotations"] if isinstance(a, Mapping)]
    annotations = [a for a in annotations if isinstance(a.get("result"), list)]
    annotations = [a for a in annotations if not a.get("was_cancelled")]
    marked = [a for a in annotations if a.get("ground_truth")]
    chosen = annotations if len(annotations) == 1 else marked
    if len(chosen) == 1:
        return chosen[0]["result"], ""
    if not annotations:
        return [], "its task has no annotation"
    return [], f"its task has {len(annotations)} annotations; mark one as ground truth"


def _regions(results: Sequence[Any]) -> tuple[list[Any], Any]:
    """Regions of an annotation, and the size (H, W) that it gives its image.

    The region and its label may be two results of one id.
    """
    regions: dict[Any, dict[str, Any]] = {}
    size = None
    for number, result in enumerate(results):
        kind = result.get("type") if isinstance(result, Mapping) else None
        value = result.get("value") if isinstance(result, Mapping) else None
        if kind in NO_REGIONS:
            continue
        if not isinstance(kind, str) or not isinstance(value, Mapping):
            regions[number, "bad"] = {"kind": "?", "value": {}, "labels": None, "rotation": 0}
            continue
        key = result.get("id", number)
        region = regions.setdefault(
            key if isinstance(key, (str, int)) else number,
            {"kind": "labels", "value": value, "labels": None, "rotation": 0},
        )
        shape = kind.removesuffix("labels")
        if shape:
            region |= {"kind": shape, "value": value, "rotation": result.get("image_rotation", 0)}
            size = (result.get("original_height"), result.get("original_width"))
        if kind.endswith("labels"):
            region["labels"] = value.get(kind)
    return list(regions.values()), size
