"""Definitions that all annotation formats share.

An annotation format lists its images cheaply and reads the annotation of one image on demand. It
is sent to the worker processes and read there image by image, so that memory does not grow with
the number of images.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from detr_d2.conversion.classes import SourceClass, choose_things
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import TRANSPOSED, ImageInfo, UnreadableError, apply_exif_orientation
from detr_d2.utils.files import printable
from detr_d2.utils.progress import Progress


@dataclass(frozen=True)
class Sample:
    """One image and where its annotation is.

    `name` is the image's path below the set's image folder, with "/"; `image` the file, None when
    the annotation file holds the image itself; `source` what the format needs to read it; `inputs`
    the files whose change invalidates an earlier result.
    """

    name: str
    image: str | None
    source: Any
    inputs: tuple[str, ...] = ()
    image_id: int | None = None


@dataclass(frozen=True)
class Skipped:
    """A part of the source that gives no image of the result, and why."""

    name: str
    reason: str

    def __post_init__(self) -> None:
        # File systems hold names that no terminal and no JSON reader can take.
        object.__setattr__(self, "name", printable(self.name))
        object.__setattr__(self, "reason", printable(self.reason))


@dataclass
class AnnotationFormat(ABC):
    """An annotation format: its fields are the settings, `scan` looks at the files.

    Fields common to all formats (keyword only):
        exif: "upright" when masks and polygons were drawn on the image as viewers show it, "stored"
            when on the pixels as stored, without the camera's rotation.
        resize: scale masks of another size than their image (nearest neighbour) instead of
            rejecting them.
        things, stuff: names of classes, see `classes.choose_things`.
        skip_bad_annotations: skip annotations that cannot be read and report them, instead of
            skipping their whole image.

    After `scan` there are `classes`, `samples` (by name) and `skipped`.
    """

    name: ClassVar[str] = ""
    # How things of a class map are treated unless the rules say otherwise.
    default_things: ClassVar[str] = "components"
    # Whether classes given as text are things unless they say otherwise.
    are_things: ClassVar[bool] = False

    exif: str = field(default="upright", kw_only=True)
    resize: bool = field(default=False, kw_only=True)
    things: tuple[str, ...] | None = field(default=None, kw_only=True)
    stuff: tuple[str, ...] | None = field(default=None, kw_only=True)
    skip_bad_annotations: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.exif not in ("upright", "stored"):
            raise ValueError(f"exif {self.exif!r}, allowed: 'upright', 'stored'")
        self.classes: list[SourceClass] = []
        self.samples: list[Sample] = []
        self.skipped: list[Skipped] = []
        self.progress: Progress | None = None
        self._scanned = False

    def scan(self, progress: Progress | None = None) -> None:
        """Find the images and the classes, once: later calls do nothing.

        Args:
            progress: called with (bytes read, bytes in all) where a large file is read.

        Raises:
            ValueError: the settings contradict each other or the files.
            FileNotFoundError: a file or folder is absent.
        """
        if self._scanned:
            return
        self.classes, self.samples, self.skipped = [], [], []
        self.progress = progress
        self._add_samples(self.find_samples())
        self.progress = None
        self.classes = choose_things(self.classes, self.things, self.stuff)
        self._scanned = True

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the samples: a worker process gets only those that it converts."""
        return {**self.__dict__, "samples": [], "skipped": []}

    @abstractmethod
    def find_samples(self) -> Sequence[Sample]:
        """Look at the files: return the images, and fill `classes` and `skipped`."""

    @abstractmethod
    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Read the annotation of one image.

        Raises:
            UnreadableError: what is wrong, naming the file.
        """

    def image_bytes(self, sample: Sample) -> bytes:
        """The image that the annotation file holds, for samples without an image file."""
        raise UnreadableError(f"{sample.name}: there is no image")

    @contextmanager
    def one_annotation(self, annotation: ImageAnnotation) -> Iterator[None]:
        """Read one annotation of an image: a bad one is skipped, if that is wanted.

        Raises:
            UnreadableError: it is bad, and `skip_bad_annotations` is not set.
        """
        try:
            yield
        except UnreadableError as error:
            if not self.skip_bad_annotations:
                raise UnreadableError(f"{error}; or skip it with --skip-bad-annotations") from error
            annotation.bad.append(str(error))

    def _add_samples(self, samples: Iterable[Sample]) -> None:
        """Keep samples whose name, without extension, is unique; the others go to `skipped`."""
        by_stem: dict[str, list[Sample]] = {}
        for sample in samples:
            if printable(sample.name) != sample.name:
                self.skipped.append(Skipped(sample.name, "its name is not UTF-8; rename it"))
                continue
            by_stem.setdefault(os.path.splitext(sample.name)[0], []).append(sample)
        for same in by_stem.values():
            if len(same) == 1:
                self.samples.append(same[0])
                continue
            names = [str(sample.image or sample.name) for sample in same]
            reason = f"several images of one name, so masks cannot be told apart: {names}"
            self.skipped += [Skipped(name, reason) for name in names]
        self.samples.sort(key=lambda sample: sample.name)

    def annotated_size(self, info: ImageInfo) -> tuple[int, int]:
        """The size (H, W) of the image as it was annotated: upright or as stored."""
        transposed = self.exif == "stored" and info.orientation in TRANSPOSED
        return info.size[::-1] if transposed else info.size

    def misfit(self, size: tuple[int, ...], info: ImageInfo) -> str | None:
        """What to do about an annotation of another size (H, W) than its image; None = nothing.

        An annotation that lies where the image stands is turned, which no scaling repairs.
        """
        height, width = self.annotated_size(info)
        if tuple(size) == (height, width):
            return None
        lies = (size[0] - size[1]) * (height - width) < 0
        if lies and info.orientation in TRANSPOSED:
            if self.exif == "upright":
                return "the image is turned by EXIF and the annotation is not: use --exif stored"
            return "the annotation is turned as the image is by EXIF: use --exif upright"
        return None if self.resize else "scale it with --resize"

    def align(
        self, values: np.ndarray, info: ImageInfo, path: str | os.PathLike[str]
    ) -> np.ndarray:
        """Bring a mask to the upright image's orientation and size, or reject it.

        Raises:
            UnreadableError: another size than the image's, and `resize` is not set; or the mask
                is turned against its image.
        """
        if hint := self.misfit(values.shape, info):
            height, width = self.annotated_size(info)
            raise UnreadableError(
                f"{path}: {values.shape[1]}x{values.shape[0]} pixels, but its image has "
                f"{width}x{height}; {hint}"
            )
        if self.exif == "stored":
            values = apply_exif_orientation(values, info.orientation)
        if values.shape == info.size:
            return values
        # Of OpenCV's types that can be resized, double is the one that holds every id exactly.
        exact = np.uint8 if values.dtype in (np.bool_, np.uint8) else np.float64
        scaled = cv2.resize(
            values.astype(exact), info.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT
        )
        return scaled.astype(values.dtype)


def files_of(samples: Iterable[Sample]) -> Iterator[str]:
    """All files that the samples depend on."""
    for sample in samples:
        if sample.image is not None:
            yield sample.image
        yield from sample.inputs


def joined(folder: str | os.PathLike[str], name: str) -> str:
    """Path of a file by its "/" name below a folder."""
    return str(Path(folder, *name.split("/")))
