"""Annotation formats with a folder of images: with mask files beside it, or named by one JSON."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped, joined
from detr_d2.conversion.formats.matching import Match, Pattern, image_keys
from detr_d2.data.image_io import IMAGE_SUFFIXES, MASK_SUFFIXES, files_below

NO_MASK = "no mask file belongs to it"
NO_IMAGE = "no image belongs to it by the pattern"
NO_SUCH_NAME = "its name does not match the pattern"


@dataclass
class ImageFolderFormat(AnnotationFormat):
    """A folder of images and one of masks, matched by names.

    Args:
        images: folder of the images, with any subfolders.
        masks: folder of the masks; may be the same.
        pattern: how masks are named, see `detr_d2.conversion.formats.matching`.
        keep_unlabelled: take an image without a mask as one without objects instead of
            skipping it.
    """

    images: str
    masks: str
    pattern: str = "{image}"
    keep_unlabelled: bool = False

    # Of the files in the folder of masks.
    mask_suffixes: ClassVar[frozenset[str]] = MASK_SUFFIXES

    def __post_init__(self) -> None:
        super().__post_init__()
        # How every mask's name was read, for users to look at.
        self.matched: list[Match] = []

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the table of names, which may be as long as the samples."""
        return {**super().__getstate__(), "matched": []}

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
            images, masks = _separate(images, pattern)
        keys = image_keys(images)
        found: dict[str, list[Match]] = {}
        for mask in masks:
            match = pattern.find(mask, keys)
            if match is None:
                reason = NO_IMAGE if pattern.describes(mask) else NO_SUCH_NAME
                self.skipped.append(Skipped(joined(self.masks, mask), f"{reason} {self.pattern}"))
                continue
            self._reject_image_as_mask(match)
            found.setdefault(match.image, []).append(match)
        self.matched = [match for same in found.values() for match in same]
        return found, images

    def _reject_image_as_mask(self, match: Match) -> None:
        image, mask = joined(self.images, match.image), joined(self.masks, match.mask)
        if os.path.realpath(image) == os.path.realpath(mask):
            raise ValueError(
                f"{image}: is its own mask; give a pattern that only masks match, for example "
                "{image}.png or {image}_mask"
            )

    def reject_duplicates(self, found: Mapping[str, Sequence[Match]]) -> None:
        """Raise ValueError when an image has two masks of one class that no number tells apart."""
        if Pattern(self.pattern).numbered:
            return
        for image, matches in found.items():
            by_label: dict[str | None, str] = {}
            for match in matches:
                if match.label in by_label:
                    files = [joined(self.masks, m) for m in (by_label[match.label], match.mask)]
                    raise ValueError(
                        f"{image}: several masks of one class, {files}; give a pattern that only "
                        "one of them matches, as {image}.png, or {n} where each is an instance"
                    )
                by_label[match.label] = match.mask

    def reject_several(self, found: Mapping[str, Sequence[Match]]) -> None:
        """Raise ValueError when an image has more than one file of masks."""
        for image, matches in found.items():
            if len(matches) > 1:
                files = [joined(self.masks, match.mask) for match in matches]
                raise ValueError(f"{image}: several masks, one expected: {files}")

    def make_samples(self, found: dict[str, list[Match]], images: Sequence[str]) -> list[Sample]:
        """Turn matches into samples."""
        samples = []
        # Images of one name share their masks here; `scan` then rejects them all.
        owners: dict[str, str] = {}
        for image in images:
            owner = owners.setdefault(os.path.splitext(image)[0], image)
            matches = found.get(owner, [])
            if not matches and not self.keep_unlabelled:
                self.skipped.append(Skipped(joined(self.images, image), NO_MASK))
                continue
            where = joined(self.images, image)
            samples.append(Sample(image, where, self.source_of(matches), self.inputs_of(matches)))
        return samples

    def inputs_of(self, matches: list[Match]) -> tuple[str, ...]:
        """Mask files of one image."""
        return tuple(joined(self.masks, match.mask) for match in matches)

    def source_of(self, matches: list[Match]) -> Any:
        """Make `Sample.source` from the matches of one image."""
        return matches


def _separate(files: Sequence[str], pattern: Pattern) -> tuple[list[str], list[str]]:
    """Separate images and masks in one folder: a mask's name contains that of another file."""
    if pattern.text == "{image}":
        raise ValueError(
            "images and masks lie in one folder: give a pattern that tells them apart, for example "
            "{image}_mask, or {image}.png beside JPEGs"
        )
    suffix = pattern.suffix
    others = files
    if suffix is not None and pattern.text.lower() == "{image}" + suffix:
        others = [file for file in files if not file.lower().endswith(suffix)]
    keys = image_keys(others)
    masks = [file for file in files if pattern.find(file, keys) is not None]
    return sorted(set(files) - set(masks)), masks


class ImageFinder:
    """Finds the images that an annotation file names, as loosely as such files name images.

    A name is tried as it stands, then with other upper and lower case, then without its folders,
    each time only if it can mean one file.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self.names = files_below(folder, IMAGE_SUFFIXES)
        self._exact = set(self.names)
        self._loose: dict[str, list[str]] = {}
        for name in self.names:
            for key in {name.lower(), name.lower().rsplit("/", 1)[-1]}:
                self._loose.setdefault(key, []).append(name)

    def find(self, name: str) -> str | None:
        """Path of the image below the folder, with "/", or None.

        Raises:
            ValueError: the name fits several images.
        """
        name = name.replace("\\", "/").removeprefix("./")
        if name in self._exact:
            return name
        for key in (name.lower(), name.lower().rsplit("/", 1)[-1]):
            found = self._loose.get(key, [])
            if len(found) == 1:
                return found[0]
            if found:
                raise ValueError(f"{name}: may be any of {found} below {self.folder}")
        return None
