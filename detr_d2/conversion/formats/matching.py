"""Match mask files to images by a pattern of names.

A pattern describes the mask's path below the mask folder, without extension, with placeholders:
`{image}` is the image's path below the image folder or, where that is unique, its bare name, both
without extension; `{class}` a class; `{n}` anything, which tells instances apart. As in shells, `*`
stands for anything too. Examples: `{image}_label`, `{class}/{image}`, `{image}_{class}`,
`{image}/{class}_{n}`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from detr_d2.data.image_io import MASK_SUFFIXES, files_below

PLACEHOLDERS = ("{image}", "{class}", "{n}")


@dataclass(frozen=True)
class Match:
    """A mask file, the image it belongs to, and the values of the other placeholders."""

    mask: str
    image: str
    label: str | None
    number: str | None


class Pattern:
    """A pattern of mask names.

    Args:
        text: the pattern.
        classes: the names that `{class}` may be; None = any without "/".

    Raises:
        ValueError: `{image}` is not there exactly once, or another placeholder twice.
    """

    def __init__(self, text: str, classes: Iterable[str] | None = None) -> None:
        if text.count("{image}") != 1 or any(text.count(p) > 1 for p in PLACEHOLDERS):
            raise ValueError(
                f"pattern {text!r}: {{image}} must be there once, {{class}} and {{n}} at most once"
            )
        wrong = set(re.findall(r"\{[^}]*\}", text)) - set(PLACEHOLDERS)
        if wrong:
            raise ValueError(f"pattern {text!r}: {sorted(wrong)}; allowed: {list(PLACEHOLDERS)}")
        self.text = text
        # The longest name first, so that "car_roof" is not taken for "car".
        names = sorted(classes or (), key=len, reverse=True)
        label = "|".join(re.escape(name) for name in names) if names else "[^/]+?"
        before, after = text.split("{image}")
        self._before = re.compile(_expression(before, label))
        self._after = re.compile(_expression(after, label))

    def find(self, mask: str, images: Mapping[str, str]) -> Match | None:
        """Find the image of one mask file, or None.

        Args:
            mask: path below the mask folder, with "/".
            images: image names by what `{image}` may be, see `image_keys`.
        """
        stem = os.path.splitext(mask)[0]
        # The longest image name that fits wins: of "a" and "a_1", the mask "a_1_car" is of "a_1".
        for end in range(len(stem), 0, -1):
            after = self._after.fullmatch(stem, end)
            if after is None:
                continue
            for start in range(end):
                if stem[start:end] not in images:
                    continue
                before = self._before.fullmatch(stem, 0, start)
                if before is not None:
                    found = {**before.groupdict(), **after.groupdict()}
                    image = images[stem[start:end]]
                    return Match(mask, image, found.get("label"), found.get("number"))
        return None


def masks_by_image(folder: str, pattern: str, images: Iterable[str]) -> dict[str, str]:
    """Find the mask file of every image that has one in a folder.

    Args:
        folder: of the masks.
        pattern: their names.
        images: paths of the images below their own folder.

    Returns:
        Paths of masks, by image.
    """
    names, keys = Pattern(pattern), image_keys(images)
    found = [names.find(mask, keys) for mask in files_below(folder, MASK_SUFFIXES)]
    return {match.image: os.path.join(folder, match.mask) for match in found if match}


def _expression(text: str, label: str) -> str:
    escaped = re.escape(text).replace(re.escape("{class}"), f"(?P<label>{label})")
    return escaped.replace(re.escape("{n}"), "(?P<number>.*?)").replace(r"\*", ".*?")


def image_keys(images: Iterable[str]) -> dict[str, str]:
    """Images by what `{image}` may be: paths without extension, and unique bare names."""
    by_path: dict[str, str] = {}
    bare: dict[str, list[str]] = {}
    for image in images:
        stem = os.path.splitext(image)[0]
        by_path.setdefault(stem, image)
        bare.setdefault(stem.rsplit("/", 1)[-1], []).append(image)
    unique = {name: found[0] for name, found in bare.items() if len(found) == 1}
    return unique | by_path
