"""Recognize annotation formats by the names of files and folders, and by XML, CSV and NDJSON."""

import json
import os
import re
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from detr_d2.conversion.formats.base import joined
from detr_d2.conversion.formats.recognize import LABELBOX, recognize_json
from detr_d2.conversion.formats.via import attributes_of, read_via
from detr_d2.data.image_io import IMAGE_SUFFIXES
from detr_d2.utils.files import read_json

VIA_HEADER = ("filename", "region_shape_attributes")
VOC_MASKS = "SegmentationObject"


def guess_layout(root: str, files: Sequence[str]) -> tuple[list[str], list[str]]:
    """Propose a format for a folder.

    Args:
        root: the folder.
        files: paths below it, with "/".

    Returns:
        The arguments of `tools/convert_masks.py` ([] = nothing recognized), and the reasons.
    """
    attempts: tuple[Callable[[str, Sequence[str]], tuple[list[str], list[str]]], ...]
    attempts = (_data_set, _supervisely, _cvat, _via_csv, _labelbox)
    seen: list[str] = []
    for attempt in attempts:
        arguments, reasons = attempt(root, files)
        seen += reasons
        if arguments:
            return arguments, seen
    return [], seen


def _images(root: str, files: Sequence[str]) -> str:
    """The deepest folder that holds all images."""
    names = [n for n in files if os.path.splitext(n)[1].lower() in IMAGE_SUFFIXES]
    folders = [os.path.dirname(name) for name in names]
    return os.path.join(root, os.path.commonpath(folders)) if folders else root


def _ending(files: Sequence[str], *endings: str) -> list[str]:
    return [name for name in files if name.lower().endswith(endings)]


def _data_set(root: str, files: Sequence[str]) -> tuple[list[str], list[str]]:
    """Public data sets, by their folders."""
    folder = ["--folder", root]
    if (found := _ending(files, "_leftimg8bit.png")) and _inside(files, "gtFine", "gtCoarse"):
        kind = "gtFine" if _inside(files, "gtFine") else "gtCoarse"
        more = [] if kind == "gtFine" else ["--ground-truth", kind]
        return ["cityscapes", *folder, *more], [f"{found[0]}: an image of Cityscapes, {kind} too"]
    if (found := _inside(files, VOC_MASKS)) and _inside(files, "JPEGImages"):
        return ["pascal-voc", *folder], [f"{found[0]}: a mask of Pascal VOC"]
    if found := _inside(files, "JPEGImages"):
        return [], [f"{found[0]}: Pascal VOC without {VOC_MASKS}: only boxes, or classes"]
    parts = [part for part in ("training", "validation") if _inside(files, part)]
    if _ending(files, "objectinfo150.txt"):
        part = ["--part", parts[0]] if parts else []
        return ["ade20k", *folder, *part], ["objectInfo150.txt: ADE20K with 150 classes"]
    if (found := _ending(files, "_seg.png")) and _ending(files, "_atr.txt", ".json"):
        return ["ade20k", *folder], [f"{found[0]}: a mask of the full ADE20K"]
    configs = [n for n in files if re.fullmatch(r"config(_v[12]\.[02])?\.json", n)]
    if configs and parts and _inside(files, "instances", "panoptic"):
        versions = [v for v in ("v1.2", "v2.0") if _inside(files, v)]
        version = ["--version", versions[-1]] if versions else []
        arguments = ["mapillary", *folder, "--part", parts[0], *version]
        return arguments, [f"{configs[0]}: the configuration of Mapillary Vistas"]
    return [], []


def _inside(files: Sequence[str], *folders: str) -> list[str]:
    """The files that lie in a folder of one of these names."""
    return [name for name in files if set(folders) & set(name.split("/")[:-1])]


def _supervisely(root: str, files: Sequence[str]) -> tuple[list[str], list[str]]:
    metas = [name for name in files if name.rsplit("/", 1)[-1] == "meta.json"]
    for meta in sorted(metas, key=lambda name: name.count("/")):
        folder = os.path.dirname(meta)
        below = [name for name in files if name.startswith(f"{folder}/" if folder else "")]
        if not _inside(below, "ann") or not _has_classes(joined(root, meta)):
            continue
        if _inside(below, "img"):
            project = joined(root, folder) if folder else root
            return ["supervisely", "--folder", project], [f"{meta}, ann and img: Supervisely"]
        return [], [f"{meta}, ann: Supervisely without its images, which belong in img beside ann"]
    return [], []


def _has_classes(path: str) -> bool:
    try:
        content = read_json(path)
    except (ValueError, OSError):
        return False
    return isinstance(content, dict) and isinstance(content.get("classes"), list)


def _cvat(root: str, files: Sequence[str]) -> tuple[list[str], list[str]]:
    seen = []
    for name in _ending(files, ".xml")[:3]:
        found = recognize_xml(joined(root, name))
        seen.append(f"{name}: {found}")
        if found == "CVAT XML":
            path = joined(root, name)
            return ["cvat", "--annotations", path, "--images", _images(root, files)], seen
    return [], seen


def recognize_xml(path: str) -> str:
    """Name the format of an XML file by its root."""
    try:
        _, element = next(ElementTree.iterparse(path, events=("start",)))
    except (ElementTree.ParseError, OSError, StopIteration) as error:
        return f"not valid XML ({error})"
    # labelme's first program and Pascal VOC have the same root; only boxes are in the latter.
    known = {"annotations": "CVAT XML", "annotation": "Pascal VOC, boxes only, or LabelMe 3.0"}
    return known.get(element.tag, f"unknown XML <{element.tag}>")


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.readline()
    except (OSError, ValueError):
        return ""


def _via_csv(root: str, files: Sequence[str]) -> tuple[list[str], list[str]]:
    for name in _ending(files, ".csv"):
        path = joined(root, name)
        if all(column in _first_line(path) for column in VIA_HEADER):
            options, seen = via_options(path)
            arguments = ["via", "--annotations", path, "--images", _images(root, files)]
            return [*arguments, *options], [f"{name}: a CSV of VIA", *seen]
    return [], []


def via_options(path: str) -> tuple[list[str], list[str]]:
    """The options that say what the class is in a file of VIA, and what they are chosen from."""
    try:
        names = sorted(attributes_of(read_via(path)))
    except ValueError as error:
        return [], [str(error)]
    if len(names) == 1:
        return [], [f"the class is its only attribute, {names[0]}"]
    if not names:
        return ["--class", "NAME"], ["its regions have no attributes: give the class of all"]
    return ["--attribute", "NAME"], [f"the class is one of its attributes: {', '.join(names)}"]


def _labelbox(root: str, files: Sequence[str]) -> tuple[list[str], list[str]]:
    for name in _ending(files, ".ndjson", ".jsonl", ".json"):
        path = joined(root, name)
        try:
            found = recognize_json(json.loads(_first_line(path)))
        except ValueError:
            continue
        if found == LABELBOX:
            arguments = ["labelbox", "--annotations", path, "--images", _images(root, files)]
            return arguments, [f"{name}: Labelbox"]
    return [], []
