"""Guess the annotation format of a folder from a few of its files.

A guess is a proposal with its reasons: the rules and the classes are the user's to check.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detr_d2.conversion.formats.base import joined
from detr_d2.conversion.formats.layouts import guess_layout, via_options
from detr_d2.conversion.formats.matching import image_keys
from detr_d2.conversion.formats.recognize import (
    COCO,
    LABEL_STUDIO,
    LABELME,
    PANOPTIC,
    VIA_1,
    VIA_2,
    VIA_PROJECT,
    recognize_json,
)
from detr_d2.conversion.formats.yolo import parse_line
from detr_d2.data.image_io import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    UnreadableError,
    files_below,
    read_values,
)
from detr_d2.utils.files import read_json

# How many files of a kind are opened, and how many different values a mask has at most.
LOOKED_AT, MASK_VALUES = 6, 256
VALUES_SHOWN = 20
JSON = frozenset({".json"})
# Formats of JSON files that list the images of a folder.
LISTS = {**dict.fromkeys((VIA_1, VIA_2, VIA_PROJECT), "via"), LABEL_STUDIO: "label-studio"}


@dataclass
class Guess:
    """A proposal: the arguments of `tools/convert_masks.py`, and the reasons for it.

    `arguments` is empty when nothing was recognized.
    """

    arguments: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


def guess_format(folder: str | os.PathLike[str]) -> Guess:
    """Propose how a folder is converted.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    root = os.fspath(folder)
    guess = Guess()
    files = files_below(root, MASK_SUFFIXES | JSON | {".txt", ".xml", ".csv", ".ndjson", ".jsonl"})
    counts = Counter(os.path.splitext(name)[1].lower() for name in files)
    guess.seen.append(
        ", ".join(f"{n} {suffix}" for suffix, n in counts.most_common()) or "no files"
    )
    guess.arguments, seen = guess_layout(root, files)
    guess.seen += seen
    for attempt in (_from_json, _from_yolo, _from_masks):
        if guess.arguments:
            break
        attempt(root, files, guess)
    return guess


def _with_suffix(files: Sequence[str], suffixes: frozenset[str]) -> list[str]:
    return [name for name in files if os.path.splitext(name)[1].lower() in suffixes]


def _sample(names: Sequence[str]) -> list[str]:
    """A few of the names, from first to last."""
    places = {round(i * (len(names) - 1) / max(1, LOOKED_AT - 1)) for i in range(LOOKED_AT)}
    return [names[i] for i in sorted(places)] if names else []


def _from_json(root: str, files: Sequence[str], guess: Guess) -> None:
    found: dict[str, str] = {}
    for name in _sample(_with_suffix(files, JSON)):
        try:
            kind = recognize_json(read_json(joined(root, name)))
        except (ValueError, OSError) as error:
            guess.seen.append(str(error))
            continue
        if kind is not None:
            found.setdefault(kind, name)
            guess.seen.append(f"{name}: {kind}")
    images = _folder_of(root, _with_suffix(files, IMAGE_SUFFIXES))
    if LABELME in found:
        guess.arguments = ["labelme", "--folder", root]
    elif PANOPTIC in found:
        path = joined(root, found[PANOPTIC])
        masks = os.path.splitext(path)[0]
        guess.arguments = ["coco-panoptic", "--json", path, "--images", images, "--masks", masks]
    elif COCO in found:
        path = joined(root, found[COCO])
        guess.arguments = ["coco-json", "--annotations", path, "--images", images]
    elif kind := next((kind for kind in found if kind in LISTS), None):
        path = joined(root, found[kind])
        options, seen = via_options(path) if LISTS[kind] == "via" else ([], [])
        guess.arguments = [LISTS[kind], "--annotations", path, "--images", images, *options]
        guess.seen += seen
    elif found:
        guess.seen.append("convert it into COCO JSON with its own program first")


def _from_yolo(root: str, files: Sequence[str], guess: Guess) -> None:
    texts = [n for n in _with_suffix(files, frozenset({".txt"})) if _is_yolo(joined(root, n))]
    if not texts:
        return
    guess.seen.append(f"{texts[0]}: lines of YOLO polygons")
    yamls = [n for n in os.listdir(root) if n.endswith((".yaml", ".yml"))]
    classes = os.path.join(root, yamls[0]) if yamls else "0=NAME,1=NAME"
    images = _folder_of(root, _with_suffix(files, IMAGE_SUFFIXES))
    guess.arguments = ["yolo", "--images", images, "--masks", _folder_of(root, texts)]
    guess.arguments += ["--classes", classes]


def _is_yolo(path: str) -> bool:
    try:
        with open(path, encoding="utf-8-sig") as file:
            parse_line(file.readline(), path)
    except (OSError, ValueError):
        return False
    return True


def _folder_of(root: str, names: Sequence[str]) -> str:
    """The deepest folder that holds all files."""
    if not names:
        return root
    return os.path.join(root, os.path.commonpath([os.path.dirname(name) for name in names]))


def _from_masks(root: str, files: Sequence[str], guess: Guess) -> None:
    """Tell masks, which have few values, from images, by folder and extension."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for name in _with_suffix(files, MASK_SUFFIXES):
        kinds.setdefault((os.path.dirname(name), os.path.splitext(name)[1].lower()), []).append(
            name
        )
    images: list[str] = []
    masks: list[str] = []
    values: set[int] = set()
    for names in kinds.values():
        found = [_values(joined(root, name)) for name in _sample(names)]
        if all(len(one) <= MASK_VALUES for one in found):
            masks += names
            values.update(*found)
        else:
            images += names
    if not images or not masks:
        guess.seen.append(f"{len(images)} images and {len(masks)} masks: both are needed")
        return
    image_folder, mask_folder = _folder_of(root, images), _folder_of(root, masks)
    pattern = _pattern_of(
        [os.path.relpath(joined(root, name), image_folder) for name in images],
        [os.path.relpath(joined(root, name), mask_folder) for name in masks],
    )
    if image_folder == mask_folder and pattern == "{image}":
        pattern += os.path.splitext(masks[0])[1].lower()
    listed = sorted(values)
    more = " ..." if len(listed) > VALUES_SHOWN else ""
    guess.seen.append(f"{masks[0]}: a mask; values of some: {listed[:VALUES_SHOWN]}{more}")
    folders = ["--images", image_folder, "--masks", mask_folder, "--pattern", pattern]
    if len(values) <= 2:
        guess.arguments = ["binary-masks", *folders]
        guess.arguments += [] if "{class}" in pattern else ["--class", "NAME"]
        # Who numbers them wants them apart, as stuff never is.
        guess.arguments += ["--all-things"] if "{n}" in pattern else []
    elif len(values) <= MASK_VALUES and max(values) < MASK_VALUES:
        classes = ",".join(f"{value}=NAME{value}" for value in listed[:VALUES_SHOWN])
        guess.arguments = ["semantic-png", *folders, "--classes", classes]
        guess.seen.append("if the values are instances, not classes: instance-ids --class NAME")
    elif max(values) > 65535:
        classes = ",".join(f"#{_hex(value)}=NAME" for value in listed[:VALUES_SHOWN])
        guess.arguments = ["semantic-png", *folders, "--classes", classes]
    else:
        guess.arguments = ["instance-ids", *folders, "--class", "NAME"]


def _values(path: str) -> set[int]:
    try:
        return set(np.unique(read_values(path, lossless=False)).tolist())
    except UnreadableError:
        return set()


def _hex(value: int) -> str:
    return bytes([value & 255, value >> 8 & 255, value >> 16]).hex()


def _around(text: str, found: re.Match[str]) -> tuple[str, str]:
    return text[: found.start()], text[found.end() :]


def _pattern_of(images: Sequence[str], masks: Sequence[str]) -> str:
    """The pattern of the masks' names: what varies beside the image is a class or a number."""
    keys = sorted(image_keys(images), key=len, reverse=True)
    before: set[str] = set()
    after: set[str] = set()
    for mask in masks:
        stem = os.path.splitext(mask)[0]
        inside = [key for key in keys if key in stem]
        # "b_loader" is a mask of b, though there is an "a" in it too.
        words = (re.search(rf"(?<![^\W_]){re.escape(key)}(?![^\W_])", stem) for key in inside)
        if inside:
            word = next(filter(None, words), None)
            start, end = stem.split(inside[0], 1) if word is None else _around(stem, word)
            before.add(start)
            after.add(end)
    if len(before) > 1:
        separator = "/" if all(start.endswith("/") for start in before) else "_"
        return f"{{class}}{separator}{{image}}" + (after.pop() if len(after) == 1 else "*")
    start = next(iter(before), "")
    if len(after) <= 1:
        return f"{start}{{image}}{next(iter(after), '')}"
    separators = {end[:1] for end in after}
    separator = separators.pop() if len(separators) == 1 else ""
    ends = [end.removeprefix(separator) for end in after]
    kind = "{class}"
    if all(end.isdigit() for end in ends):
        kind = "{n}"
    elif all(re.fullmatch(r".+_\d+", end) for end in ends):
        kind = "{class}_{n}"
    return f"{start}{{image}}{separator}{kind}"
