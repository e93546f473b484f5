"""VGG Image Annotator (VIA) 1 and 2: a project, or an export as JSON or CSV."""

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from detr_d2.conversion.formats.base import joined
from detr_d2.conversion.formats.image_folder import ImageFinder
from detr_d2.conversion.formats.image_list import ImageListFormat, ListedImage
from detr_d2.conversion.formats.recognize import VIA_1, VIA_2, VIA_PROJECT, recognize_json
from detr_d2.conversion.formats.shapes import fill_ellipse, fill_polygon, fill_rectangle
from detr_d2.data.image_io import UnreadableError, files_below
from detr_d2.utils.files import read_json

# Of the exported CSV; VIA 1 writes a # before the first.
COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
# Parameters of the shapes that have an area.
PARAMETERS = {
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}


@dataclass
class Via(ImageListFormat):
    """VIA 1 and 2: polygons, rectangles, circles, ellipses. VIA stores no sizes of images.

    `annotations` may be a folder too, whose JSON files are all read: some export one for each
    image, or for each of train and val. An image that lies beside its file comes before others of
    its name.

    Args:
        attribute: name of the region attribute that is the class; None = the only one there is.
        label: the class of all regions, for files without attributes.
    """

    name: ClassVar[str] = "via"

    attribute: str | None = None
    label: str | None = None

    def listed(self, finder: ImageFinder) -> Iterable[ListedImage]:
        """The images of the file."""
        if self.attribute is not None and self.label is not None:
            raise ValueError("via: give an attribute or a class, not both")
        images = [(file, *image) for file in self._files() for image in read_via(file)]
        if self.label is None:
            self._attribute = self._choose(attributes_of((n, r) for _, n, r in images))
        found = set(finder.names)
        listed = []
        for file, name, regions in images:
            beside = os.path.relpath(os.path.join(os.path.dirname(file), name), self.images)
            beside = beside.replace(os.sep, "/")
            names_of = (beside,) if beside in found else (name,)
            listed.append(ListedImage(names_of, None, tuple(regions), file=file))
        return listed

    def _files(self) -> list[str]:
        if not os.path.isdir(self.annotations):
            return [self.annotations]
        names = files_below(self.annotations, frozenset({".json"}))
        if not names:
            raise ValueError(f"{self.annotations}: there is no .json in this folder")
        return [joined(self.annotations, name) for name in names]

    def _choose(self, names: set[str]) -> str:
        if self.attribute is None and len(names) == 1:
            return next(iter(names))
        if self.attribute in names and self.attribute is not None:
            return self.attribute
        if not names:
            raise ValueError(
                f"{self.annotations}: its regions have no attributes; give their class (--class)"
            )
        found = "no such attribute, " if self.attribute else "several attributes, "
        raise ValueError(
            f"{self.annotations}: {found}say which one is the class (--attribute): {sorted(names)}"
        )

    def label_of(self, shape: Any) -> str:
        """The value of the class attribute."""
        if self.label is not None:
            return self.label
        attributes = shape.get("region_attributes") if isinstance(shape, Mapping) else None
        value = attributes.get(self._attribute) if isinstance(attributes, Mapping) else None
        if isinstance(value, Mapping):
            # Of checkboxes: those that are ticked.
            ticked = [option for option, state in value.items() if state]
            value = ticked[0] if len(ticked) == 1 else None
        if isinstance(value, int) and not isinstance(value, bool):
            # Programs that write VIA's files number the classes.
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise UnreadableError(f"has no single value of the attribute {self._attribute!r}")
        return value.strip()

    def rasterize(self, shape: Any, size: tuple[int, int], where: str) -> np.ndarray:
        """Rasterize a region."""
        values = shape.get("shape_attributes") if isinstance(shape, Mapping) else None
        if not isinstance(values, Mapping):
            raise UnreadableError(f"{where}: has no shape_attributes")
        kind = values.get("name")
        if kind == "polygon":
            xs, ys = values.get("all_points_x"), values.get("all_points_y")
            if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
                raise UnreadableError(f"{where}: needs as many all_points_x as all_points_y")
            return fill_polygon([list(pair) for pair in zip(xs, ys, strict=True)], size, where)
        if kind not in PARAMETERS:
            raise UnreadableError(f"{where}: a {kind} has no area")
        numbers: list[Any] = [values.get(key) for key in PARAMETERS[kind]]
        if not all(isinstance(n, (int, float)) for n in numbers):
            raise UnreadableError(f"{where}: a {kind} needs the numbers {PARAMETERS[kind]}")
        if kind == "rect":
            x, y, width, height = numbers
            return fill_rectangle([x, y, x + width, y + height], size, where)
        if kind == "circle":
            return fill_ellipse(numbers[:2], [numbers[2]] * 2, size, where)
        theta = values.get("theta", 0)
        if not isinstance(theta, (int, float)):
            raise UnreadableError(f"{where}: theta {theta!r}; must be an angle")
        return fill_ellipse(numbers[:2], numbers[2:], size, where, math.degrees(theta))


def read_via(path: str | os.PathLike[str]) -> list[tuple[str, list[Any]]]:
    """Names of the images and their regions, as dicts of `shape_attributes`, `region_attributes`.

    Raises:
        ValueError: neither JSON nor CSV of VIA.
    """
    if os.fspath(path).lower().endswith(".csv"):
        return _read_csv(path)
    content = read_json(path)
    found = recognize_json(content)
    if found not in (VIA_1, VIA_2, VIA_PROJECT):
        raise ValueError(f"{path}: no file of VIA 1 or 2 (this is {found or 'unknown'})")
    images = []
    for key, entry in content.get("_via_img_metadata", content).items():
        regions = entry.get("regions") or [] if isinstance(entry, Mapping) else None
        if not isinstance(regions, (list, Mapping)) or not isinstance(entry.get("filename"), str):
            raise ValueError(f"{path}: entry {key!r} has no filename or no regions")
        # VIA 1 numbers the regions, VIA 2 lists them.
        listed = list(regions.values()) if isinstance(regions, Mapping) else regions
        images.append((entry["filename"], listed))
    return images


def attributes_of(images: Iterable[tuple[str, list[Any]]]) -> set[str]:
    """Names of the attributes of all regions of `read_via`."""
    return {
        name
        for _, regions in images
        for region in regions
        if isinstance(region, Mapping) and isinstance(region.get("region_attributes"), Mapping)
        for name in region["region_attributes"]
    }


def _read_csv(path: str | os.PathLike[str]) -> list[tuple[str, list[Any]]]:
    images: dict[str, list[Any]] = {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = [name.strip().lstrip("#") for name in next(rows, [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise ValueError(
                f"{path}: no CSV of VIA 1 or 2, without columns {missing}; it has {header[:8]}"
            )
        for row in rows:
            if not row:
                continue
            cells = dict(zip(header, row, strict=False))
            regions = images.setdefault(cells["filename"], [])
            shape, attributes = (_cell(cells.get(key, "")) for key in COLUMNS[1:])
            # An image without regions has one row, with an empty shape.
            if shape != {}:
                regions.append({"shape_attributes": shape, "region_attributes": attributes})
    return list(images.items())


def _cell(text: str) -> Any:
    """JSON in a cell; text that is none stays, so that the region is reported when it is read."""
    try:
        return json.loads(text)
    except ValueError:
        return text
