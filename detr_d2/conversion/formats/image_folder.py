"""Forms that keep photos in one folder and mask files in another."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detr_d2.conversion.formats.base import Form, LeftOut, Sample, joined
from detr_d2.conversion.formats.matching import Match, Pattern, photo_keys
from detr_d2.data.image_io import MASK_SUFFIXES, PHOTO_SUFFIXES, files_below

NO_MASK = "no mask file belongs to it"
NO_PHOTO = "no photo belongs to it"


@dataclass
class PhotoFolderForm(Form):
    """A folder of photos and one of masks, matched by names.

    Args:
        images: folder of the photos, with any subfolders.
        masks: folder of the masks; may be the same.
        pattern: names of the masks, see `detr_d2.conversion.formats.matching`.
        keep_unlabelled: take a photo without a mask as one in which there is nothing, instead of
            leaving it out.
    """

    images: str
    masks: str
    pattern: str = "{photo}"
    keep_unlabelled: bool = False

    # Of the files in the folder of masks.
    mask_suffixes: ClassVar[frozenset[str]] = MASK_SUFFIXES

    def matches(
        self, classes: Iterable[str] | None = None
    ) -> tuple[dict[str, list[Match]], list[str]]:
        """Mask files by photo, and all photos; masks without a photo go to `left_out`."""
        self.images, self.masks = os.fspath(self.images), os.fspath(self.masks)
        pattern = Pattern(self.pattern, classes)
        photos = files_below(self.images, PHOTO_SUFFIXES)
        masks = files_below(self.masks, self.mask_suffixes)
        mixed = bool(self.mask_suffixes & PHOTO_SUFFIXES)
        if mixed and os.path.realpath(self.images) == os.path.realpath(self.masks):
            photos, masks = _tell_apart(photos, pattern)
        keys = photo_keys(photos)
        found: dict[str, list[Match]] = {}
        for mask in masks:
            match = pattern.find(mask, keys)
            if match is None:
                self.left_out.append(LeftOut(joined(self.masks, mask), NO_PHOTO))
            else:
                found.setdefault(match.photo, []).append(match)
        return found, photos

    def refuse_several(self, found: Mapping[str, Sequence[Match]]) -> None:
        """Raise ValueError when a photo has more than one file of masks."""
        for photo, matches in found.items():
            if len(matches) > 1:
                files = [joined(self.masks, match.mask) for match in matches]
                raise ValueError(f"{photo}: several masks, one expected: {files}")

    def make_samples(self, found: dict[str, list[Match]], photos: Sequence[str]) -> None:
        """Turn matches into samples."""
        samples = []
        # Photos of one name share their masks here; `settle` then refuses them all.
        owners: dict[str, str] = {}
        for photo in photos:
            owner = owners.setdefault(os.path.splitext(photo)[0], photo)
            matches = found.get(owner, [])
            if not matches and not self.keep_unlabelled:
                self.left_out.append(LeftOut(joined(self.images, photo), NO_MASK))
                continue
            where = joined(self.images, photo)
            samples.append(Sample(photo, where, self.source_of(matches), self.inputs_of(matches)))
        self.settle(samples)

    def inputs_of(self, matches: list[Match]) -> tuple[str, ...]:
        """The files that the matches of one photo consist of."""
        return tuple(joined(self.masks, match.mask) for match in matches)

    def source_of(self, matches: list[Match]) -> Any:
        """What `read` needs of the matches of one photo."""
        return matches


def _tell_apart(files: Sequence[str], pattern: Pattern) -> tuple[list[str], list[str]]:
    """Photos and masks of one folder: a mask is what fits the pattern with another file's name."""
    if pattern.text == "{photo}":
        raise ValueError(
            "photos and masks lie in one folder: give a pattern that tells them apart, for example "
            "{photo}_mask"
        )
    keys = photo_keys(files)
    masks = [file for file in files if pattern.find(file, keys) is not None]
    return sorted(set(files) - set(masks)), masks
