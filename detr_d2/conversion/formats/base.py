"""Definitions that all annotation formats share.

An annotation format lists its images cheaply and reads the annotation of one image on demand. It
is sent to the worker processes and read there image by image, so that memory does not grow with
the number of images.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from detr_d2.conversion.classes import SourceClass, choose_things
from detr_d2.data.image_io import TRANSPOSED, ImageInfo, UnreadableError, apply_exif_orientation
from detr_d2.utils.files import printable

# The class key of regions that are declared as void.
VOID = "__void__"
# Why an annotation is lost.
WITHOUT_PIXELS, HIDDEN, TOO_SMALL = "without pixels", "hidden by others", "smaller than min_area"


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
class Region:
    """One annotated region: a mask (h, w) bool whose first pixel is at (row, column) `top_left`.

    `key` is its class or VOID. Regions with the same class and the same `group` are one segment.
    """

    key: Hashable
    mask: np.ndarray
    top_left: tuple[int, int] = (0, 0)
    group: Hashable = None
    crowd: bool = False

    def window(self, array: np.ndarray) -> np.ndarray:
        """The part (h, w) of an array (H, W) that the mask covers, as a view."""
        (top, left), (height, width) = self.top_left, self.mask.shape
        return array[top : top + height, left : left + width]


@dataclass
class ImageAnnotation:
    """The annotation of one image of `size` (H, W), before any rule is applied.

    `class_map` (H, W): index of the class in the format's list + 1, 0 = unlabelled, -1 = void.
    `instance_map` (H, W): numbers of instances, 0 = none, -1 = void; `instance_classes` gives
    (class key, crowd) for each number. `regions` may overlap. `lost` has reason and class key of
    every annotation that gave no region; `bad` says what was wrong with those that were skipped.
    """

    size: tuple[int, int]
    class_map: np.ndarray | None = None
    instance_map: np.ndarray | None = None
    instance_classes: dict[int, tuple[Hashable, bool]] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)
    lost: list[tuple[str, Hashable]] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    def add_region(
        self, mask: np.ndarray, key: Hashable, crowd: bool = False, group: Hashable = None
    ) -> None:
        """Add a mask (H, W) bool, cropped to its smallest window; an empty one is lost."""
        # Masks that pycocotools has drawn lie column by column in memory: OpenCV would copy them.
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            self.lost.append((WITHOUT_PIXELS, key))
            return
        top, left = int(rows[0]), int(columns[0])
        cropped = mask[top : rows[-1] + 1, left : columns[-1] + 1]
        self.regions.append(Region(key, cropped, (top, left), group, crowd))


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
        self._scanned = False

    def scan(self) -> None:
        """Find the images and the classes, once: later calls do nothing.

        Raises:
            ValueError: the settings contradict each other or the files.
            FileNotFoundError: a file or folder is absent.
        """
        if self._scanned:
            return
        self.classes, self.samples, self.skipped = [], [], []
        self._add_samples(self.find_samples())
        self.classes = choose_things(self.classes, self.things, self.stuff)
        self._scanned = True

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

    def align(
        self, values: np.ndarray, info: ImageInfo, path: str | os.PathLike[str]
    ) -> np.ndarray:
        """Bring a mask to the upright image's orientation and size, or reject it.

        Raises:
            UnreadableError: another size than the image's, and `resize` is not set.
        """
        if self.exif == "stored":
            values = apply_exif_orientation(values, info.orientation)
        if values.shape == info.size:
            return values
        height, width = info.size
        if self.resize:
            # The only type of OpenCV's that holds every id exactly and can be resized.
            scaled = cv2.resize(
                values.astype(np.float64), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
            )
            return scaled.astype(values.dtype)
        hint = "scale it with --resize"
        if values.shape == (width, height) and info.orientation != 1 and self.exif == "upright":
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
