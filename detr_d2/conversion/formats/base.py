"""What every form of annotation has in common: it lists photos cheaply and reads one on demand.

A form is built once, sent to the worker processes, and read there photo by photo, so that memory
does not grow with the number of photos.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from detr_d2.conversion.classes import SourceClass, choose_things
from detr_d2.conversion.formats.drawing import Drawing
from detr_d2.data.image_io import TURNED, PhotoFacts, UnreadableError, turn_upright


@dataclass(frozen=True)
class Sample:
    """One photo and where its annotation is.

    `name` is the photo's path below the set's image folder, with "/"; `photo` the file, None when
    the annotation file holds the photo itself; `source` what the form needs to read it; `inputs`
    the files whose change makes a former result worthless.
    """

    name: str
    photo: str | None
    source: Any
    inputs: tuple[str, ...] = ()
    image_id: int | None = None


@dataclass(frozen=True)
class LeftOut:
    """Something of the source that gives no image of the result, and why."""

    name: str
    reason: str


@dataclass
class Form(ABC):
    """A form of annotation.

    Fields common to all forms (keyword only):
        exif: "upright" when masks and polygons were drawn on the photo as viewers show it, "stored"
            when on the pixels as stored, without the camera's rotation.
        resize: scale masks of another size than their photo (nearest neighbour) instead of
            refusing them.
        things, stuff: names of classes, see `classes.choose_things`.
    """

    name: ClassVar[str] = ""
    # How things of a label map are treated unless the rules say otherwise.
    default_things: ClassVar[str] = "components"
    # Whether classes given as text are things unless they say otherwise.
    are_things: ClassVar[bool] = False

    exif: str = field(default="upright", kw_only=True)
    resize: bool = field(default=False, kw_only=True)
    things: tuple[str, ...] | None = field(default=None, kw_only=True)
    stuff: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.exif not in ("upright", "stored"):
            raise ValueError(f"exif {self.exif!r}, allowed: 'upright', 'stored'")
        self.classes: list[SourceClass] = []
        self.left_out: list[LeftOut] = []
        self._samples: list[Sample] = []
        self.scan()
        self.classes = choose_things(self.classes, self.things, self.stuff)

    @abstractmethod
    def scan(self) -> None:
        """Find the photos and the classes: fills `classes`, `left_out` and the samples."""

    @abstractmethod
    def read(self, sample: Sample, facts: PhotoFacts) -> Drawing:
        """Read the annotation of one photo.

        Raises:
            UnreadableError: what is wrong, naming the file.
        """

    def photo_bytes(self, sample: Sample) -> bytes:
        """The photo that the annotation file holds, for samples without a photo file."""
        raise UnreadableError(f"{sample.name}: there is no photo")

    def samples(self) -> Sequence[Sample]:
        """The photos found, in the order of their names."""
        return self._samples

    def settle(self, samples: Iterable[Sample]) -> None:
        """Keep samples with unmistakable names; the others go to `left_out`."""
        by_stem: dict[str, list[Sample]] = {}
        for sample in samples:
            by_stem.setdefault(os.path.splitext(sample.name)[0], []).append(sample)
        for same in by_stem.values():
            if len(same) == 1:
                self._samples.append(same[0])
                continue
            names = [str(sample.photo or sample.name) for sample in same]
            reason = f"several photos of one name, so masks cannot be told apart: {names}"
            self.left_out += [LeftOut(name, reason) for name in names]
        self._samples.sort(key=lambda sample: sample.name)

    def frame(self, facts: PhotoFacts) -> tuple[int, int]:
        """The size (H, W) of the photo as it was annotated: upright or as stored."""
        turned = self.exif == "stored" and facts.orientation in TURNED
        return facts.size[::-1] if turned else facts.size

    def fit(
        self, values: np.ndarray, facts: PhotoFacts, path: str | os.PathLike[str]
    ) -> np.ndarray:
        """Bring a mask to the upright photo's size, or refuse it."""
        if self.exif == "stored":
            values = turn_upright(values, facts.orientation)
        if values.shape == facts.size:
            return values
        height, width = facts.size
        if self.resize:
            # The only type of OpenCV's that holds every id exactly and can be resized.
            scaled = cv2.resize(
                values.astype(np.float64), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
            )
            return scaled.astype(values.dtype)
        hint = "scale it with --resize"
        if values.shape == (width, height) and facts.orientation != 1 and self.exif == "upright":
            hint = "the photo is rotated by EXIF and the mask is not: use --exif stored"
        raise UnreadableError(
            f"{path}: {values.shape[1]}x{values.shape[0]} pixels, but its photo has "
            f"{width}x{height}; {hint}"
        )


def files_of(samples: Iterable[Sample]) -> Iterator[str]:
    """All files that the samples depend on."""
    for sample in samples:
        if sample.photo is not None:
            yield sample.photo
        yield from sample.inputs


def joined(folder: str | os.PathLike[str], name: str) -> str:
    """Path of a file by its "/" name below a folder."""
    return str(Path(folder, *name.split("/")))
