"""Annotation formats with one file that lists the images of a folder, and their shapes."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from detr_d2.conversion.formats.base import Sample, Skipped, joined
from detr_d2.conversion.formats.image_folder import ImageFinder
from detr_d2.conversion.formats.shapes import ShapeFormat
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import ImageInfo


@dataclass(frozen=True)
class ListedImage:
    """An image as an annotation file lists it.

    `names` are the names that it may have below the image folder, the likeliest first; `size`
    (H, W) what the file says, None = nothing; `shapes` as the format has them, the lowest first;
    `fault` says why the image cannot be used; `file` is the annotation file, "" = the only one.
    """

    names: tuple[str, ...]
    size: Any
    shapes: tuple[Any, ...]
    fault: str = ""
    file: str = ""


@dataclass
class ImageListFormat(ShapeFormat):
    """One annotation file for the images of a folder.

    Args:
        annotations: the file. It is held in memory as a whole.
        images: folder of the images; file names are looked for in its subfolders too.
    """

    annotations: str
    images: str

    @abstractmethod
    def listed(self, finder: ImageFinder) -> Iterable[ListedImage]:
        """Read the file: the images that it lists; `classes` may be filled, `skipped` too."""

    def find_samples(self) -> list[Sample]:
        """Read the file and find the images."""
        finder = ImageFinder(self.images)
        samples: list[Sample] = []
        labels: list[str] = []
        found: set[str | None] = set()
        for listed in self.listed(finder):
            labels += self.labels_in(listed.shapes)
            name, reason = _find(finder, listed.names)
            found.add(name)
            if name is None or listed.fault:
                self.skipped.append(Skipped(name or listed.names[0], listed.fault or reason))
                continue
            source = (listed.size, listed.shapes)
            inputs = (listed.file or self.annotations,)
            samples.append(Sample(name, joined(self.images, name), source, inputs))
        # Classes that the file declares come first, used or not.
        declared = [c.name for c in self.classes]
        self.classes = self.make_classes([*declared, *sorted(set(labels))])
        unlisted = [name for name in finder.names if name not in found]
        self.skipped += [
            Skipped(joined(self.images, name), f"not in {self.annotations}") for name in unlisted
        ]
        return samples

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Rasterize the shapes of one image."""
        size, shapes = sample.source
        return self.read_shapes(shapes, size, info, f"{self.annotations}: {sample.name}")


def _find(finder: ImageFinder, names: tuple[str, ...]) -> tuple[str | None, str]:
    """The image's name below the folder, or None and why."""
    for name in names:
        try:
            found = finder.find(name)
        except ValueError as error:
            return None, str(error)
        if found is not None:
            return found, ""
    return None, f"image not found below {finder.folder}"
