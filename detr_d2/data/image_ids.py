"""Ids of the images in the JSON of predictions: those of a data set, or ones that no set has."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from detr_d2.utils.files import read_json

SHOWN = 10


@dataclass(frozen=True)
class ImageEntry:
    """What the JSON says of an image besides its size."""

    id: int
    file_name: str


class ImageIds:
    """Find the entry of an image by its name.

    Programs that score predictions match images by id alone, so that ids counted from 1 would meet
    those of other images. Without a data set the id is therefore a hash of the name (48 bits): it
    meets no id of a set, and is the same in every run.

    Args:
        source: a COCO or COCO-panoptic JSON whose `images` have the ids; None for hashes.

    Raises:
        ValueError: not such a JSON, or a faulty image in it.
        OSError: the file cannot be read.
    """

    def __init__(self, source: str | os.PathLike[str] | None = None) -> None:
        self.source = source
        self._entries: dict[str, list[ImageEntry]] = {}
        for entry in _entries(source) if source is not None else ():
            self._entries.setdefault(PurePosixPath(entry.file_name).name, []).append(entry)

    def __call__(self, name: str) -> ImageEntry:
        """Find an image.

        Args:
            name: its path with "/", as long or as short as it is known: "val/a.jpg" is the set's
                "a.jpg", and "a.jpg" its "city/a.jpg" if there is only one.

        Raises:
            ValueError: the set has no such image, or several.
        """
        if self.source is None:
            digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
            return ImageEntry(int.from_bytes(digest[:6], "big"), name)
        found = [e for e in self._entries.get(PurePosixPath(name).name, []) if _agree(e, name)]
        exact = [entry for entry in found if entry.file_name == name]
        found = exact or found
        if len(found) != 1:
            several = f"several: {[entry.file_name for entry in found[:SHOWN]]}"
            raise ValueError(f"{name}: {self.source} has {several if found else 'no such image'}")
        return found[0]

    def check(self, names: Iterable[str]) -> None:
        """Find all these images, before the work that needs their ids.

        Raises:
            ValueError: those that the set does not have, and two names of one image.
        """
        faults, names_of = [], dict[int, str]()
        for name in names:
            try:
                entry = self(name)
            except ValueError as error:
                faults.append(str(error))
                continue
            other = names_of.setdefault(entry.id, name)
            if other != name:
                faults.append(f"{other} and {name} are the same image, {entry.file_name}")
        if faults:
            more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
            raise ValueError("image ids:\n  " + "\n  ".join(faults[:SHOWN] + more))


def _entries(source: str | os.PathLike[str]) -> list[ImageEntry]:
    content = read_json(source)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise ValueError(f"{source}: no list images; a COCO or COCO-panoptic JSON has it")
    entries = []
    for number, image in enumerate(images):
        fields = image if isinstance(image, dict) else {}
        image_id, name = fields.get("id"), fields.get("file_name")
        if type(image_id) is not int or not isinstance(name, str):
            raise ValueError(
                f"{source}: image {number}: id {image_id!r:.40} and file_name {name!r:.80}; "
                "must be an integer and text"
            )
        entries.append(ImageEntry(image_id, name))
    if len({entry.id for entry in entries}) < len(entries):
        raise ValueError(f"{source}: two images have the same id")
    return entries


def _agree(entry: ImageEntry, name: str) -> bool:
    """Whether the shorter of the two paths is the end of the longer."""
    ours, theirs = PurePosixPath(name).parts, PurePosixPath(entry.file_name).parts
    common = min(len(ours), len(theirs))
    return ours[-common:] == theirs[-common:]
