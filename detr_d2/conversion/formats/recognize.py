"""Recognize the format of a JSON file, so that a wrong one is named in messages."""

import os
from collections.abc import Mapping
from typing import Any

from detr_d2.data.coco_panoptic import check_coco_lists, missing_lists
from detr_d2.utils.files import read_json

LABELME, COCO, PANOPTIC = "labelme", "COCO JSON", "COCO-panoptic"
VIA_1, VIA_2, VIA_PROJECT = "VIA 1", "VIA 2", "a project of VIA 2"
SUPERVISELY, LABEL_STUDIO, LABELBOX = "Supervisely", "Label Studio", "Labelbox"
CITYSCAPES = "polygons of Cityscapes"
LABELBOX_OLD = "an old JSON export of Labelbox, which exports NDJSON now"


def recognize_json(content: Any) -> str | None:
    """Name the format of a JSON file's content; None when it is unknown."""
    if isinstance(content, list):
        return _recognize_list(content)
    if not isinstance(content, Mapping):
        return None
    if not missing_lists(content):
        first = content["annotations"][0] if content["annotations"] else None
        if first is None:
            return None
        return PANOPTIC if "segments_info" in first else COCO
    if isinstance(content.get("shapes"), list):
        return LABELME
    if "_via_img_metadata" in content or "_via_settings" in content:
        return VIA_PROJECT
    if isinstance(content.get("objects"), list) and "size" in content:
        return SUPERVISELY
    if isinstance(content.get("objects"), list) and "imgWidth" in content:
        return CITYSCAPES
    if "data_row" in content and "projects" in content:
        return LABELBOX
    if "Label" in content and "Labeled Data" in content:
        return LABELBOX_OLD
    if isinstance(content.get("classes"), list) and "tags" in content:
        return "the meta.json of a project of Supervisely"
    if isinstance(content.get("labels"), list) and "mapping" in content:
        return "the configuration of Mapillary Vistas"
    if {"project", "config", "metadata"} <= set(content):
        return "VIA 3, which exports COCO JSON"
    entries = list(content.values())
    if entries and all(isinstance(e, Mapping) and "regions" in e for e in entries[:3]):
        return VIA_1 if isinstance(entries[0]["regions"], Mapping) else VIA_2
    return None


def _recognize_list(content: list[Any]) -> str | None:
    first = content[0] if content and isinstance(content[0], Mapping) else {}
    if isinstance(first.get("annotations"), list) and "data" in first:
        return LABEL_STUDIO
    if "annotation_id" in first and "annotator" in first:
        return "JSON-MIN of Label Studio, which exports JSON too"
    if "Label" in first and "Labeled Data" in first:
        return LABELBOX_OLD
    if "data_row" in first and "projects" in first:
        return "Labelbox as one list, where NDJSON has one object a line"
    if {"image_id", "category_id"} <= set(first):
        return "results or annotations of COCO without their images and categories"
    if {"image_id", "segments_info"} <= set(first):
        return "annotations of COCO-panoptic without their images and categories"
    return None


def read_coco(path: str | os.PathLike[str], wanted: str) -> dict[str, Any]:
    """Read a JSON of COCO's formats; `wanted` is COCO or PANOPTIC.

    Raises:
        ValueError: not valid JSON, of another format, or a list is missing.
    """
    content = read_json(path)
    check_format(content, path, wanted)
    return content


def check_format(content: Any, path: str | os.PathLike[str], wanted: str) -> None:
    """Raise ValueError unless a JSON's content is COCO or PANOPTIC, whichever is wanted."""
    found = recognize_json(content)
    if found not in (None, wanted):
        raise ValueError(f"{path}: this is {found}, not {wanted}")
    check_coco_lists(content, path, wanted)
