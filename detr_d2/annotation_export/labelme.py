"""labelme: one JSON for each image, which names the image by its path from there."""

import os
from typing import Any, ClassVar

from detr_d2.annotation_export.base import AnnotationWriter, Finding, score_of, stuff_option
from detr_d2.annotation_export.polygons import layered_shapes
from detr_d2.utils.files import read_json, write_json

# The version of labelme whose fields are written; others read them too.
VERSION = "5.5.0"


class LabelmeWriter(AnnotationWriter):
    """Polygons, the largest first, see `layered_shapes`.

    The parts of a segment are shapes of one group. labelme keeps `score`, which it does not know.
    """

    name: ClassVar[str] = "labelme"
    files: ClassVar[tuple[str, ...]] = ("**/*.json",)

    def __contains__(self, name: str) -> bool:
        return (self.folder / f"{os.path.splitext(name)[0]}.json").is_file()

    def add(self, finding: Finding) -> None:
        """Write the JSON of one image."""
        target = self.folder / f"{finding.stem}.json"
        shapes = layered_shapes(finding.id_map, finding.segments)
        ids = [shape.segment["id"] for shape in shapes]
        entries = []
        for shape in shapes:
            number, score = shape.segment["id"], score_of(shape.segment)
            entry: dict[str, Any] = {
                "label": self.category(shape.segment).name,
                "points": [list(corner) for corner in shape.corners],
                "group_id": number if ids.count(number) > 1 else None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            entries.append(entry if score is None else {**entry, "score": score})
        height, width = finding.id_map.shape
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": entries,
            "imagePath": os.path.relpath(finding.path, target.parent).replace(os.sep, "/"),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        write_json(target, content, indent=1)

    def conversion(self, images: str) -> list[str]:
        """labelme's files name their images; classes are those that occur in them."""
        found = {
            shape["label"]
            for path in self.folder.rglob("*.json")
            for shape in read_json(path)["shapes"]
        }
        stuff = [c.name for c in self.table.categories if not c.isthing and c.name in found]
        return ["labelme", "--folder", str(self.folder), *stuff_option(stuff)]
