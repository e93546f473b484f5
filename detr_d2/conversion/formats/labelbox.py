"""Labelbox: the NDJSON export, a line for each image."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from detr_d2.conversion.formats.image_folder import ImageFinder
from detr_d2.conversion.formats.image_list import ImageListFormat, ListedImage
from detr_d2.conversion.formats.recognize import LABELBOX, recognize_json
from detr_d2.conversion.formats.shapes import fill_polygon
from detr_d2.data.image_io import UnreadableError
from detr_d2.utils.files import read_json

NOT_POLYGONS = {
    "ImageSegmentationMask": (
        "its mask is a picture on Labelbox's server, and nothing is downloaded here; export "
        "polygons, or download the masks and use binary-masks"
    ),
    "ImageBoundingBox": "only a box; a mask is needed",
    "ImagePolyline": "a polyline has no area",
    "ImagePoint": "a point has no area",
}


@dataclass
class Labelbox(ImageListFormat):
    """The NDJSON export of Labelbox (2023 and later): polygons.

    An image with labels of several projects or annotators is rejected until `project` names one;
    several labels in one project are rejected.

    Args:
        project: name or id of the project whose labels count; None = the only one.
    """

    name: ClassVar[str] = "labelbox"

    project: str | None = None

    def listed(self, finder: ImageFinder) -> Iterable[ListedImage]:
        """The images of the lines."""
        for number, row in read_lines(self.annotations):
            where = f"{self.annotations}: line {number}"
            found = recognize_json(row)
            if found != LABELBOX:
                raise ValueError(f"{where}: no export of Labelbox (this is {found or 'unknown'})")
            data = row["data_row"] if isinstance(row["data_row"], Mapping) else {}
            given = [data.get(key) for key in ("external_id", "global_key", "row_data")]
            names = [name.split("?")[0] for name in given if isinstance(name, str) and name]
            if not names:
                raise ValueError(f"{where}: its data_row has no external_id")
            media = row.get("media_attributes")
            media = media if isinstance(media, Mapping) else {}
            size = (media.get("height"), media.get("width"))
            objects, fault = self._objects(row)
            yield ListedImage(tuple(names), size, tuple(objects), fault)

    def _objects(self, row: Mapping[str, Any]) -> tuple[list[Any], str]:
        """Objects of the one label that counts, or why there is none."""
        projects = row["projects"] if isinstance(row["projects"], Mapping) else {}
        labels = []
        for key, project in projects.items():
            if not isinstance(project, Mapping):
                continue
            if self.project in (None, key, project.get("name")):
                found = project.get("labels")
                labels += found if isinstance(found, list) else []
        if len(labels) > 1:
            return [], f"it has {len(labels)} labels; choose one project (--project)"
        if not labels:
            return [], "it has no label"
        annotations = labels[0].get("annotations") if isinstance(labels[0], Mapping) else None
        objects = annotations.get("objects") if isinstance(annotations, Mapping) else None
        return (objects, "") if isinstance(objects, list) else ([], "its label has no objects")

    def label_of(self, shape: Any) -> str:
        """Its name."""
        label = shape.get("name") if isinstance(shape, Mapping) else None
        if not isinstance(label, str) or not label:
            raise UnreadableError("has no name")
        return label

    def rasterize(self, shape: Any, size: tuple[int, int], where: str) -> np.ndarray:
        """Rasterize a polygon."""
        kind = shape.get("annotation_kind")
        if kind != "ImagePolygon":
            raise UnreadableError(f"{where}: {NOT_POLYGONS.get(kind, f'{kind} is unknown')}")
        points = shape.get("polygon")
        if not isinstance(points, list) or not all(isinstance(p, Mapping) for p in points):
            raise UnreadableError(f"{where}: its polygon is no list of x and y")
        return fill_polygon([[point.get("x"), point.get("y")] for point in points], size, where)


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    """Lines of an NDJSON file with their numbers, from 1; empty ones are skipped.

    Raises:
        ValueError: a line that is no JSON.
    """
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except ValueError as error:
                _reject_indented(path)
                raise ValueError(f"{path}: line {number}: not valid JSON ({error})") from error


def _reject_indented(path: str | os.PathLike[str]) -> None:
    """Name the format of a file that is one JSON over many lines: Labelbox's old export is."""
    try:
        found = recognize_json(read_json(path)) or "unknown JSON"
    except ValueError:
        return
    raise ValueError(f"{path}: no NDJSON, which has one object a line (this is {found})")
