"""Checks of a COCO-panoptic set that open its images and its id PNGs."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from detr_d2.data.image_io import UnreadableError, inspect_image, read_values
from detr_d2.ops.panoptic_ids import compact, rgb_to_id
from detr_d2.validation.findings import Finding


def check_image(path: str, image: Mapping[str, Any]) -> tuple[list[Finding], int | None]:
    """Open an image and compare its size with its image entry.

    Returns:
        The findings, and its perceptual hash (see `image_io.inspect_image`), None if unreadable.
    """
    if not os.path.isfile(path):
        return [Finding("error", "missing image", path, "", "not there", "an image")], None
    try:
        facts = inspect_image(path)
    except UnreadableError as error:
        found = str(error).removeprefix(f"{path}: ")
        return [Finding("error", "unreadable image", path, "", found, "a whole image")], None
    listed = (image.get("height"), image.get("width"))
    if listed == facts.size:
        return [], facts.perceptual_hash
    found = f"the JSON says {listed[1]}x{listed[0]}"
    expected = f"the image has {facts.size[1]}x{facts.size[0]}"
    return [Finding("error", "wrong size", path, "", found, expected)], facts.perceptual_hash


def check_png(
    path: str, image: Mapping[str, Any], segments: Sequence[Mapping[str, Any]], tiny: int
) -> Iterator[Finding]:
    """Open an id PNG and compare it with its image entry and its `segments_info`.

    Args:
        path: the PNG.
        image: the image entry.
        segments: what the JSON lists.
        tiny: segments of fewer pixels are reported.
    """
    try:
        ids, mode = read_ids(path)
    except UnreadableError as error:
        found = str(error).removeprefix(f"{path}: ")
        yield Finding("error", "unreadable PNG", path, "", found, "a whole RGB PNG")
        return
    if mode != "RGB":
        expected = "RGB, id = R + 256 G + 65536 B"
        yield Finding("error", "PNG not RGB", path, "", f"image mode {mode}", expected)
    listed = (image.get("height"), image.get("width"))
    if ids.shape != listed:
        found = f"{ids.shape[1]}x{ids.shape[0]} pixels"
        expected = f"the JSON says {listed[1]}x{listed[0]}"
        yield Finding("error", "wrong size", path, "", found, expected)
    yield from compare_segments(path, ids, segments, tiny)


def compare_segments(
    path: str, ids: np.ndarray, segments: Sequence[Mapping[str, Any]], tiny: int
) -> Iterator[Finding]:
    """Compare the listed segments with the pixels: ids, areas, boxes, sizes."""
    present, positions = compact(ids)
    areas = np.bincount(positions.ravel(), minlength=len(present)).tolist()
    where = {number: place for place, number in enumerate(present)}
    listed = {segment.get("id") for segment in segments}
    for number in present:
        if number not in listed and number != 0:
            item, found = f"id {number}", f"{areas[where[number]]} pixels in the PNG"
            expected = "an entry in segments_info"
            yield Finding("error", "id not in the JSON", path, item, found, expected)
    for segment in segments:
        item, number = f"segment {segment.get('id')}", segment.get("id", -1)
        if number not in where:
            expected = "no entry without pixels"
            yield Finding("error", "id not in the PNG", path, item, "no pixel", expected)
            continue
        area = areas[where[number]]
        if segment.get("area") != area:
            found, expected = f"area {segment.get('area')}", f"{area}"
            yield Finding("error", "wrong area", path, item, found, expected)
        box = [int(v) for v in cv2.boundingRect((positions == where[number]).view(np.uint8))]
        if segment.get("bbox") is not None and list(segment["bbox"]) != box:
            found, expected = f"bbox {segment['bbox']}", f"{box}"
            yield Finding("error", "wrong box", path, item, found, expected)
        if segment.get("iscrowd") not in (0, 1):
            found = f"iscrowd {segment.get('iscrowd')!r}"
            yield Finding("error", "faulty iscrowd", path, item, found, "0 or 1")
        if area < tiny:
            found, expected = f"{area} pixels", "void, or fine if it is real"
            yield Finding("warning", "tiny segment", path, item, found, expected)


def read_ids(path: str) -> tuple[np.ndarray, str]:
    """Read the ids of a PNG of any mode: (H, W) integers, and the mode.

    Raises:
        UnreadableError: no such file, or damaged.
    """
    if not os.path.isfile(path):
        raise UnreadableError(f"{path}: not there")
    try:
        with Image.open(path) as png:
            mode = png.mode
            if mode in ("RGB", "RGBA"):
                return rgb_to_id(np.asarray(png.convert("RGB"))), mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableError(f"{path}: not readable ({error})") from error
    return read_values(path), mode
