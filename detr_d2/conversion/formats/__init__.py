"""Forms of annotation that can be converted, by name."""

from dataclasses import fields
from typing import Any

from detr_d2.conversion.classes import parse_classes
from detr_d2.conversion.formats.base import Form, LeftOut, Sample
from detr_d2.conversion.formats.binary_masks import BinaryMasks
from detr_d2.conversion.formats.coco_json import CocoJson
from detr_d2.conversion.formats.coco_panoptic import CocoPanoptic
from detr_d2.conversion.formats.instance_ids import InstanceIds
from detr_d2.conversion.formats.labelme import Labelme
from detr_d2.conversion.formats.semantic_png import SemanticPng
from detr_d2.conversion.formats.yolo import Yolo

FORMS: dict[str, type[Form]] = {
    form.name: form
    for form in (SemanticPng, BinaryMasks, InstanceIds, CocoJson, Labelme, Yolo, CocoPanoptic)
}

__all__ = [
    "FORMS",
    "BinaryMasks",
    "CocoJson",
    "CocoPanoptic",
    "Form",
    "InstanceIds",
    "Labelme",
    "LeftOut",
    "Sample",
    "SemanticPng",
    "Yolo",
    "open_form",
]


def open_form(form: str, **options: Any) -> Form:
    """Build a form by its name.

    Options are the fields of its class. Lists of classes may be text, see `classes.parse_classes`;
    classes that do not say are things if the form is one of instances, else stuff.

    Raises:
        ValueError: there is no such form, or it has no such option.
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r}, allowed: {sorted(FORMS)}")
    kind = FORMS[form]
    allowed = [field.name for field in fields(kind)]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"form {form}: no option {unknown}, allowed: {allowed}")
    for key in ("values", "declared"):
        if isinstance(options.get(key), str):
            isthing = bool(options.get("isthing", kind.are_things))
            options[key] = tuple(parse_classes(options[key], isthing))
    return kind(**options)
