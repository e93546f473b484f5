"""COCO JSON of all segments, things and stuff."""

import json
from typing import Any, ClassVar

from detr_d2.annotation_export.base import Finding, SingleFileWriter, score_of
from detr_d2.annotation_export.polygons import whole_shapes
from detr_d2.data.image_ids import ImageIds
from detr_d2.utils.files import replacing

FILE = "annotations.json"


class CocoWriter(SingleFileWriter):
    """One polygon for each segment, see `whole_shapes`; `isthing` tells which classes are stuff."""

    name: ClassVar[str] = "coco"
    files: ClassVar[tuple[str, ...]] = (FILE,)

    def describe(self, finding: Finding) -> dict[str, Any]:
        """Image and annotations, still without their numbers."""
        annotations = []
        for shape in whole_shapes(finding.id_map, finding.segments):
            xs, ys = zip(*shape.corners, strict=True)
            score = score_of(shape.segment)
            entry = {
                "category_id": self.category(shape.segment).id,
                "segmentation": [[value for corner in shape.corners for value in corner]],
                "area": shape.area,
                "bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)],
                "iscrowd": 0,
            }
            annotations.append(entry if score is None else {**entry, "score": score})
        height, width = finding.id_map.shape
        return {"height": height, "width": width, "annotations": annotations}

    def finish(self) -> None:
        """Write the JSON."""
        ids, number = ImageIds(), 0
        with replacing(self.folder / FILE) as path, open(path, "w", encoding="utf-8") as file:
            file.write(f'{{"categories": {json.dumps(self.table.to_json())}, "images": [')
            for count, name in enumerate(self.journal):
                noted = self.journal.read(name)
                image = {"id": ids(name).id, "file_name": name}
                image |= {side: noted[side] for side in ("height", "width")}
                file.write((",\n" if count else "\n") + json.dumps(image))
            file.write('], "annotations": [')
            for name in self.journal:
                for annotation in self.journal.read(name)["annotations"]:
                    number += 1
                    entry = {"id": number, "image_id": ids(name).id, **annotation}
                    file.write((",\n" if number > 1 else "\n") + json.dumps(entry))
            file.write("]}\n")

    def conversion(self, images: str) -> list[str]:
        """`isthing` is in the file."""
        return ["coco-json", "--annotations", str(self.folder / FILE), "--images", images]
