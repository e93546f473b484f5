"""The annotation formats that can be converted, by name."""

from dataclasses import fields
from typing import Any

from detr_d2.conversion.classes import parse_classes
from detr_d2.conversion.formats.ade20k import Ade20k
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped
from detr_d2.conversion.formats.binary_masks import BinaryMasks
from detr_d2.conversion.formats.cityscapes import Cityscapes
from detr_d2.conversion.formats.coco_json import CocoJson
from detr_d2.conversion.formats.coco_panoptic import CocoPanoptic
from detr_d2.conversion.formats.cvat import Cvat
from detr_d2.conversion.formats.instance_ids import InstanceIds
from detr_d2.conversion.formats.label_studio import LabelStudio
from detr_d2.conversion.formats.labelbox import Labelbox
from detr_d2.conversion.formats.labelme import Labelme
from detr_d2.conversion.formats.mapillary_vistas import MapillaryVistas
from detr_d2.conversion.formats.pascal_voc import PascalVoc
from detr_d2.conversion.formats.semantic_png import SemanticPng
from detr_d2.conversion.formats.supervisely import Supervisely
from detr_d2.conversion.formats.via import Via
from detr_d2.conversion.formats.yolo import Yolo
from detr_d2.utils.progress import Progress

FORMATS: dict[str, type[AnnotationFormat]] = {
    annotation_format.name: annotation_format
    for annotation_format in (
        SemanticPng,
        BinaryMasks,
        InstanceIds,
        CocoJson,
        Labelme,
        Yolo,
        CocoPanoptic,
        Cvat,
        Via,
        Supervisely,
        LabelStudio,
        Labelbox,
        PascalVoc,
        Ade20k,
        Cityscapes,
        MapillaryVistas,
    )
}

__all__ = [
    "FORMATS",
    "Ade20k",
    "AnnotationFormat",
    "BinaryMasks",
    "Cityscapes",
    "CocoJson",
    "CocoPanoptic",
    "Cvat",
    "InstanceIds",
    "LabelStudio",
    "Labelbox",
    "Labelme",
    "MapillaryVistas",
    "PascalVoc",
    "Sample",
    "SemanticPng",
    "Skipped",
    "Supervisely",
    "Via",
    "Yolo",
    "open_format",
]


def open_format(
    annotation_format: str, *, progress: Progress | None = None, **options: Any
) -> AnnotationFormat:
    """Make an annotation format by its name, and scan its files.

    Args:
        annotation_format: its name.
        progress: called with (bytes read, bytes in all) of a large file.
        **options: the fields of its class. Lists of classes may be text, see
            `classes.parse_classes`; classes without `isthing` are things in formats of instances,
            else stuff.

    Raises:
        FileNotFoundError: a file or folder is absent.
        ValueError: no such annotation format, no such option, or a wrong value of one.
    """
    if annotation_format not in FORMATS:
        raise ValueError(f"annotation format {annotation_format!r}, allowed: {sorted(FORMATS)}")
    kind = FORMATS[annotation_format]
    allowed = [field.name for field in fields(kind)]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(
            f"annotation format {annotation_format}: no option {unknown}, allowed: {allowed}"
        )
    for key in ("values", "declared"):
        if isinstance(options.get(key), str):
            isthing = bool(options.get("isthing", kind.are_things))
            options[key] = tuple(parse_classes(options[key], isthing))
    opened = kind(**options)
    opened.scan(progress)
    return opened
