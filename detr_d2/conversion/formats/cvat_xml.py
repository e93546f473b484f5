"""Parse the XML of CVAT into shapes, without holding the document."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

SHAPES = frozenset(
    {"polygon", "mask", "ellipse", "box", "polyline", "points", "cuboid", "skeleton", "cell"}
)


@dataclass(frozen=True)
class XmlShape:
    """A shape: the name of its element, its label and its attributes.

    `fault` says why it cannot be used, None if it can.
    """

    kind: str
    label: str | None
    values: dict[str, str]
    fault: str | None = None


@dataclass
class CvatMeta:
    """Facts about the whole task.

    `labels` in their order; `first` and `last` frame of a video, and every how many-th it has;
    `size` (H, W) of its frames; each None where the file does not say it.
    """

    labels: list[str] = field(default_factory=list)
    is_video: bool = False
    first: int = 0
    last: int | None = None
    step: int = 1
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Track:
    """An object of a video: its shapes by frame, with those in which it is outside."""

    number: str
    shapes: dict[int, XmlShape]


# Name, size (H, W) or None, and shapes of an image.
Listed = tuple[str, Any, list[XmlShape]]


def parse_cvat(path: str | os.PathLike[str]) -> tuple[CvatMeta, list[Listed], list[Track]]:
    """Parse a file.

    Raises:
        ValueError: no XML, or of another program.
    """
    meta, images, tracks = CvatMeta(), [], []
    for element in _elements(path):
        if element.tag == "meta":
            _read_meta(element, meta, path)
        elif element.tag == "image":
            if not element.get("name"):
                raise ValueError(f"{path}: image {element.get('id')} has no name")
            size = (_count(element.get("height")), _count(element.get("width")))
            shapes = [_shape(child) for child in element if child.tag in SHAPES]
            images.append((element.get("name", ""), size, shapes))
        elif element.tag == "track":
            tracks.append(_track(element, path))
    meta.is_video = bool(tracks) or (not images and meta.is_video)
    if images and tracks:
        raise ValueError(f"{path}: has images and tracks; export them for images, or for video")
    return meta, images, tracks


def _elements(path: str | os.PathLike[str]) -> Iterator[ElementTree.Element]:
    """The complete elements below the root; each is emptied when the next is asked for."""
    depth = 0
    try:
        for event, element in ElementTree.iterparse(path, events=("start", "end")):
            depth += 1 if event == "start" else -1
            if event == "start" and depth == 1 and element.tag != "annotations":
                what = "this is an XML of Pascal VOC" if element.tag == "annotation" else ""
                raise ValueError(
                    f"{path}: no CVAT XML ({what or f'its root is <{element.tag}>'}); export "
                    '"CVAT for images 1.1" or "CVAT for video 1.1"'
                )
            if event == "end" and depth == 1:
                yield element
                element.clear()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: not valid XML ({error})") from error


def _read_meta(element: ElementTree.Element, meta: CvatMeta, path: str | os.PathLike[str]) -> None:
    # A project's file has one task after the other; their labels are the project's.
    labels = [label.findtext("name") for label in element.iter("label")]
    # The parts of a skeleton are labels too, but of no shape that has pixels.
    meta.labels = list(dict.fromkeys(name for name in labels if name))
    meta.is_video = any(mode.text == "interpolation" for mode in element.iter("mode"))
    first, last = (_count(element.findtext(f".//{key}")) for key in ("start_frame", "stop_frame"))
    step = re.search(r"step=(\d+)", element.findtext(".//frame_filter") or "")
    meta.first, meta.last = first or 0, last
    every = step[1] if step else "1"
    meta.step = _count(every) or 0
    if not meta.step:
        raise ValueError(f"{path}: frame_filter step={every}; must be from 1 to 999999999")
    size = element.find(".//original_size")
    if size is not None:
        height, width = (_count(size.findtext(key)) for key in ("height", "width"))
        meta.size = (height, width) if height and width else None


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,9}", text.strip()) else None


def _shape(element: ElementTree.Element, label: str | None = None) -> XmlShape:
    return XmlShape(element.tag, element.get("label", label), dict(element.attrib))


def _track(element: ElementTree.Element, path: str | os.PathLike[str]) -> Track:
    shapes = {}
    for child in element:
        frame = _count(child.get("frame"))
        if child.tag not in SHAPES:
            continue
        if frame is None:
            raise ValueError(f"{path}: track {element.get('id')}: a {child.tag} without frame")
        shape = _shape(child, element.get("label"))
        shape.values.setdefault("group_id", element.get("group_id", "0"))
        shapes[frame] = shape
    return Track(element.get("id", ""), shapes)
