"""COCO-panoptic itself, to be renumbered, split or merged with other classes."""

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped, joined
from detr_d2.conversion.formats.image_folder import ImageFinder
from detr_d2.conversion.formats.recognize import PANOPTIC, read_coco
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import ImageInfo, UnreadableError
from detr_d2.ops.panoptic_ids import read_ids


@dataclass
class CocoPanoptic(AnnotationFormat):
    """A COCO-panoptic set; areas and boxes are measured again, ids are renumbered from 1.

    Args:
        panoptic_json: the JSON.
        images: folder of the images; file names are looked for in its subfolders too.
        masks: folder of the id PNGs.
    """

    name: ClassVar[str] = "coco-panoptic"

    panoptic_json: str
    images: str
    masks: str

    def find_samples(self) -> list[Sample]:
        """Read the JSON and find the images."""
        content = read_coco(self.panoptic_json, PANOPTIC)
        self.classes = [
            SourceClass(
                key=c["id"],
                name=c["name"],
                isthing=bool(c["isthing"]),
                wanted_id=c["id"],
                color=tuple(c["color"]) if c.get("color") else None,
                supercategory=str(c.get("supercategory") or ""),
            )
            for c in content["categories"]
        ]
        finder = ImageFinder(self.images)
        images = {image["id"]: image for image in content["images"]}
        samples = []
        for annotation in content["annotations"]:
            image = images.get(annotation["image_id"])
            name = None if image is None else finder.find(str(image["file_name"]))
            png = joined(self.masks, annotation["file_name"])
            if name is None:
                self.skipped.append(Skipped(png, "its image is not found"))
                continue
            source: tuple[str, list[dict[str, Any]]] = (png, annotation["segments_info"])
            number = annotation["image_id"] if isinstance(annotation["image_id"], int) else None
            samples.append(Sample(name, joined(self.images, name), source, (png,), number))
        annotated = {annotation["image_id"] for annotation in content["annotations"]}
        self.skipped += [
            Skipped(str(image["file_name"]), "no annotation belongs to it")
            for number, image in images.items()
            if number not in annotated
        ]
        return samples

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Read the id map."""
        png, segments = sample.source
        try:
            stored = read_ids(png)
        except OSError as error:
            raise UnreadableError(f"{png}: not readable as a mask ({error})") from error
        except ValueError as error:
            raise UnreadableError(str(error)) from error
        ids = self.align(stored, info, png)
        classes = {s["id"]: (s["category_id"], bool(s.get("iscrowd", 0))) for s in segments}
        known = {c.key for c in self.classes}
        unknown = sorted(set(np.unique(ids).tolist()) - set(classes) - {0})
        wrong = sorted({key for key, _ in classes.values() if key not in known})
        if unknown or wrong:
            what = f"ids {unknown[:8]}" if unknown else f"category_ids {wrong}"
            raise UnreadableError(f"{png}: {what} not in {os.path.basename(self.panoptic_json)}")
        return ImageAnnotation(info.size, instance_map=ids, instance_classes=classes)
