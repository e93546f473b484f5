"""CVAT's own XML, "CVAT for images 1.1", which a task or project of CVAT imports."""

from collections.abc import Iterable
from typing import Any, ClassVar
from xml.etree import ElementTree as Xml

from detr_d2.annotation_export.base import Finding, SingleFileWriter, score_of, stuff_option
from detr_d2.annotation_export.polygons import layered_shapes
from detr_d2.utils.files import printable, replacing

FILE = "annotations.xml"
# How CVAT describes an attribute that is a number: lowest, highest, step.
SCORE_VALUES = "0\n1\n0.0001"


class CvatWriter(SingleFileWriter):
    """Polygons, large ones below, see `layered_shapes`.

    The parts of a segment have one `group_id`. `score` is an attribute of each label.
    """

    name: ClassVar[str] = "cvat"
    files: ClassVar[tuple[str, ...]] = (FILE,)

    def check(self, names: Iterable[str]) -> None:
        """XML holds no bytes that are no text."""
        for name in names:
            if printable(name) != name:
                raise ValueError(f"{printable(name)}: CVAT's XML needs a name in UTF-8; rename it")

    def describe(self, finding: Finding) -> dict[str, Any]:
        """Size and polygons of an image."""
        shapes = layered_shapes(finding.id_map, finding.segments)
        ids = [shape.segment["id"] for shape in shapes]
        height, width = finding.id_map.shape
        polygons = [
            {
                "label": self.category(shape.segment).name,
                "corners": shape.corners,
                "group": number if ids.count(number) > 1 else None,
                "score": score_of(shape.segment),
            }
            for number, shape in zip(ids, shapes, strict=True)
        ]
        return {"height": height, "width": width, "polygons": polygons}

    def finish(self) -> None:
        """Write the XML, image by image."""
        names = list(self.journal)
        with replacing(self.folder / FILE) as path, open(path, "w", encoding="utf-8") as file:
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
            file.write("<version>1.1</version>\n")
            file.write(Xml.tostring(self._meta(len(names)), encoding="unicode") + "\n")
            for number, name in enumerate(names):
                image = _image(number, self.journal.read(name))
                file.write(Xml.tostring(image, encoding="unicode") + "\n")
            file.write("</annotations>\n")

    def _meta(self, size: int) -> Xml.Element:
        """The task: its labels, each with the attribute `score`."""
        meta = Xml.Element("meta")
        task = Xml.SubElement(meta, "task")
        _add_texts(task, {"name": "detr_d2", "size": size, "mode": "annotation"})
        labels = Xml.SubElement(task, "labels")
        for category in self.table.categories:
            label = Xml.SubElement(labels, "label")
            color = "#{:02x}{:02x}{:02x}".format(*category.color)
            _add_texts(label, {"name": category.name, "color": color, "type": "any"})
            attribute = Xml.SubElement(Xml.SubElement(label, "attributes"), "attribute")
            texts = {"name": "score", "mutable": False, "input_type": "number"}
            _add_texts(attribute, {**texts, "default_value": 0, "values": SCORE_VALUES})
        return meta

    def conversion(self, images: str) -> list[str]:
        """CVAT does not know which labels are stuff."""
        file = str(self.folder / FILE)
        return ["cvat", "--annotations", file, "--images", images, *stuff_option(self.stuff())]


def _image(number: int, noted: dict[str, Any]) -> Xml.Element:
    attributes = {"id": number, "name": noted["name"]}
    attributes |= {side: noted[side] for side in ("width", "height")}
    image = Xml.Element("image", _texts(attributes))
    for order, polygon in enumerate(noted["polygons"]):
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in polygon["corners"])
        attributes = {"label": polygon["label"], "source": "auto", "occluded": 0}
        attributes |= {"points": points, "z_order": order}
        if polygon["group"] is not None:
            attributes["group_id"] = polygon["group"]
        shape = Xml.SubElement(image, "polygon", _texts(attributes))
        if polygon["score"] is not None:
            Xml.SubElement(shape, "attribute", {"name": "score"}).text = str(polygon["score"])
    return image


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _add_texts(parent: Xml.Element, values: dict[str, Any]) -> None:
    for name, value in values.items():
        Xml.SubElement(parent, name).text = str(value)
