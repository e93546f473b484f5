"""Annotation formats that keep images in one folder and mask files in another."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped, joined
from detr_d2.conversion.formats.matching import Match, Pattern, image_keys
from detr_d2.data.image_io import IMAGE_SUFFIXES, MASK_SUFFIXES, files_below

NO_MASK = "no mask file belongs to it"
NO_IMAGE = "no image belongs to it"


@dataclass
class ImageFolderFormat(AnnotationFormat):
    """A folder of images and one of masks, matched by names.

    Args:
        images: folder of the images, with any subfolders.
        masks: folder of the masks; may be the same.
        pattern: names of the masks, see `detr_d2.conversion.formats.matching`.
        keep_unlabelled: take an image without a mask as one in which there is nothing, instead of
            leaving it out.
    """

    images: str
    masks: str
    pattern: str = "{image}"
    keep_unlabelled: bool = False

    # Of the files in the folder of masks.
    mask_suffixes: ClassVar[frozenset[str]] = MASK_SUFFIXES

    def matches(
        self, classes: Iterable[str] | None = None
    ) -> tuple[dict[str, list[Match]], list[str]]:
        """Mask files by image, and all images; masks without an image go to `skipped`."""
        self.images, self.masks = os.fspath(self.images), os.fspath(self.masks)
        pattern = Pattern(self.pattern, classes)
        images = files_below(self.images, IMAGE_SUFFIXES)
        masks = files_below(self.masks, self.mask_suffixes)
        mixed = bool(self.mask_suffixes & IMAGE_SUFFIXES)
        if mixed and os.path.realpath(self.images) == os.path.realpath(self.masks):
            images, masks = _tell_apart(images, pattern)
        keys = image_keys(images)
        found: dict[str, list[Match]] = {}
        for mask in masks:
            match = pattern.find(mask, keys)
            if match is None:
                self.skipped.append(Skipped(joined(self.masks, mask), NO_IMAGE))
            else:
                found.setdefault(match.image, []).append(match)
        return found, images

    def refuse_several(self, found: Mapping[str, Sequence[Match]]) -> None:
        """Raise ValueError when an image has more than one file of masks."""
        for image, matches in found.items():
            if len(matches) > 1:
                files = [joined(self.masks, match.mask) for match in matches]
                raise ValueError(f"{image}: several masks, one expected: {files}")

    def make_samples(self, found: dict[str, list[Match]], images: Sequence[str]) -> None:
        """Turn matches into samples."""
        samples = []
        # Images of one name share their masks here; `settle` then refuses them all.
        owners: dict[str, str] = {}
        for image in images:
            owner = owners.setdefault(os.path.splitext(image)[0], image)
            matches = found.get(owner, [])
            if not matches and not self.keep_unlabelled:
                self.skipped.append(Skipped(joined(self.images, image), NO_MASK))
                continue
            where = joined(self.images, image)
            samples.append(Sample(image, where, self.source_of(matches), self.inputs_of(matches)))
        self.settle(samples)

    def inputs_of(self, matches: list[Match]) -> tuple[str, ...]:
        """The files that the matches of one image consist of."""
        return tuple(joined(self.masks, match.mask) for match in matches)

    def source_of(self, matches: list[Match]) -> Any:
        """What `read` needs of the matches of one image."""
        return matches


def _tell_apart(files: Sequence[str], pattern: Pattern) -> tuple[list[str], list[str]]:
    """Images and masks of one folder: a mask is what fits the pattern with another file's name."""
    if pattern.text == "{image}":
        raise ValueError(
            "images and masks lie in one folder: give a pattern that tells them apart, for example "
            "{image}_mask"
        )
    keys = image_keys(files)
    masks = [file for file in files if pattern.find(file, keys) is not None]
    return sorted(set(files) - set(masks)), masks
