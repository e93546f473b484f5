"""What every annotation format has in common: it lists images cheaply and reads one on demand.

A format is built once, sent to the worker processes, and read there image by image, so that memory
does not grow with the number of images.
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
from detr_d2.data.image_io import TURNED, ImageFacts, UnreadableError, turn_upright


@dataclass(frozen=True)
class Sample:
    """One image and where its annotation is.

    `name` is the image's path below the set's image folder, with "/"; `image` the file, None when
    the annotation file holds the image itself; `source` what the format needs to read it; `inputs`
    the files whose change makes a former result worthless.
    """

    name: str
    image: str | None
    source: Any
    inputs: tuple[str, ...] = ()
    image_id: int | None = None


@dataclass(frozen=True)
class Skipped:
    """Something of the source that gives no image of the result, and why."""

    name: str
    reason: str


@dataclass
class AnnotationFormat(ABC):
    """An annotation format.

    Fields common to all annotation formats (keyword only):
        exif: "upright" when masks and polygons were drawn on the image as viewers show it, "stored"
            when on the pixels as stored, without the camera's rotation.
        resize: scale masks of another size than their image (nearest neighbour) instead of
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
        self.skipped: list[Skipped] = []
        self._samples: list[Sample] = []
        self.scan()
        self.classes = choose_things(self.classes, self.things, self.stuff)

    @abstractmethod
    def scan(self) -> None:
        """Find the images and the classes: fills `classes`, `skipped` and the samples."""

    @abstractmethod
    def read(self, sample: Sample, facts: ImageFacts) -> Drawing:
        """Read the annotation of one image.

        Raises:
            UnreadableError: what is wrong, naming the file.
        """

    def image_bytes(self, sample: Sample) -> bytes:
        """The image that the annotation file holds, for samples without an image file."""
        raise UnreadableError(f"{sample.name}: there is no image")

    def samples(self) -> Sequence[Sample]:
        """The images found, in the order of their names."""
        return self._samples

    def settle(self, samples: Iterable[Sample]) -> None:
        """Keep samples with unmistakable names; the others go to `skipped`."""
        by_stem: dict[str, list[Sample]] = {}
        for sample in samples:
            by_stem.setdefault(os.path.splitext(sample.name)[0], []).append(sample)
        for same in by_stem.values():
            if len(same) == 1:
                self._samples.append(same[0])
                continue
            names = [str(sample.image or sample.name) for sample in same]
            reason = f"several images of one name, so masks cannot be told apart: {names}"
            self.skipped += [Skipped(name, reason) for name in names]
        self._samples.sort(key=lambda sample: sample.name)

    def frame(self, facts: ImageFacts) -> tuple[int, int]:
        """The size (H, W) of the image as it was annotated: upright or as stored."""
        turned = self.exif == "stored" and facts.orientation in TURNED
        return facts.size[::-1] if turned else facts.size

    def fit(
        self, values: np.ndarray, facts: ImageFacts, path: str | os.PathLike[str]
    ) -> np.ndarray:
        """Bring a mask to the upright image's size, or refuse it."""
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
            hint = "the image is rotated by EXIF and the mask is not: use --exif stored"
        raise UnreadableError(
            f"{path}: {values.shape[1]}x{values.shape[0]} pixels, but its image has "
            f"{width}x{height}; {hint}"
        )


def files_of(samples: Iterable[Sample]) -> Iterator[str]:
    """All files that the samples depend on."""
    for sample in samples:
        if sample.image is not None:
            yield sample.image
        yield from sample.inputs


def joined(folder: str | os.PathLike[str], name: str) -> str:
    """Path of a file by its "/" name below a folder."""
    return str(Path(folder, *name.split("/")))
