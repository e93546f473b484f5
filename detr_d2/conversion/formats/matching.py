"""Match mask files to images by a pattern of names.

A pattern describes the mask's path below the mask folder, without extension, with placeholders:
`{image}` is the image's path below the image folder or, where that is unique, its bare name, both
without extension; `{class}` a class; `{n}` the number of an instance, `{n:*}` anything that tells
instances apart. As in shells, `*` stands for anything too. With an extension at its end, a pattern
is for masks of that extension only. Examples: `{image}_label`, `{class}/{image}`, `{image}.png`,
`{image}_{class}`, `{image}/{class}_{n}`.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from detr_d2.data.image_io import MASK_SUFFIXES, files_below

PLACEHOLDERS = ("{image}", "{class}", "{n}", "{n:*}")
# A whole run of digits, so that of "car12" the number is 12.
NUMBER, ANYTHING = r"(?<!\d)\d+(?!\d)", "[^/]+"


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
        wrong = set(re.findall(r"\{[^}]*\}", text)) - set(PLACEHOLDERS)
        if wrong:
            raise ValueError(f"pattern {text!r}: {sorted(wrong)}; allowed: {list(PLACEHOLDERS)}")
        numbers = text.count("{n}") + text.count("{n:*}")
        if text.count("{image}") != 1 or text.count("{class}") > 1 or numbers > 1:
            raise ValueError(
                f"pattern {text!r}: {{image}} must be there once, {{class}} and {{n}} at most once"
            )
        self.text = text
        self.numbered = numbers > 0
        stem, suffix = os.path.splitext(text)
        self.suffix = suffix.lower() if suffix.lower() in MASK_SUFFIXES else None
        # The longest name first, so that "car_roof" is not taken for "car".
        self._names = sorted(classes or (), key=len, reverse=True)
        parts = (text if self.suffix is None else stem).split("{image}")
        # Each name is read twice, the placeholders as short and as long as possible: where both
        # agree, there is no other reading.
        self._shortest = [self._expression(part, "?") for part in parts]
        self._longest = [self._expression(part, "") for part in parts]
        self._shape = re.compile(".+".join(e.pattern for e in self._shortest))

    def _expression(self, text: str, lazy: str) -> re.Pattern[str]:
        label = "|".join(map(re.escape, self._names)) if self._names else ANYTHING + lazy
        escaped = re.escape(text).replace(re.escape("{class}"), f"(?P<label>{label})")
        escaped = escaped.replace(re.escape("{n}"), f"(?P<number>{NUMBER})")
        escaped = escaped.replace(re.escape("{n:*}"), f"(?P<number>{ANYTHING + lazy})")
        return re.compile(escaped.replace(r"\*", ".*" + lazy))

    def describes(self, mask: str) -> bool:
        """Whether a mask file has such a name at all, whatever its image."""
        stem, suffix = os.path.splitext(mask)
        right_suffix = self.suffix in (None, suffix.lower())
        return right_suffix and self._shape.fullmatch(stem) is not None

    def find(self, mask: str, images: Mapping[str, str]) -> Match | None:
        """Find the image of one mask file, or None.

        Args:
            mask: path below the mask folder, with "/".
            images: image names by what `{image}` may be, see `image_keys`.

        Raises:
            ValueError: the class and the number of the mask can be read in two ways.
        """
        stem = os.path.splitext(mask)[0]
        if not self.describes(mask):
            return None
        # The longest image name that fits wins: of "a" and "a_1", the mask "a_1_car" is of "a_1".
        for end in range(len(stem), 0, -1):
            if self._shortest[1].fullmatch(stem, end) is None:
                continue
            for start in range(end):
                if stem[start:end] not in images:
                    continue
                if self._shortest[0].fullmatch(stem, 0, start) is not None:
                    return self._match(mask, images[stem[start:end]], stem[:start], stem[end:])
        return None

    def _match(self, mask: str, image: str, before: str, after: str) -> Match:
        readings = []
        for expressions in (self._shortest, self._longest):
            pair = zip(expressions, (before, after), strict=True)
            found = {k: v for e, text in pair for k, v in e.fullmatch(text).groupdict().items()}  # type: ignore[union-attr]
            readings.append(Match(mask, image, found.get("label"), found.get("number")))
        first, second = readings
        if first != second:
            raise ValueError(
                f"pattern {self.text!r}: {mask} can be read in two ways, as class {first.label!r} "
                f"and {first.number!r}, or as class {second.label!r} and {second.number!r}; "
                "declare the classes (--classes), or use {n}, which is a number, for {n:*}"
            )
        return first


def masks_by_image(folder: str, pattern: str, images: Iterable[str]) -> dict[str, str]:
    """Find the mask file of every image that has one in a folder.

    Args:
        folder: of the masks.
        pattern: their names.
        images: paths of the images below their own folder.

    Returns:
        Paths of masks, by image.

    Raises:
        ValueError: two masks of one image.
    """
    names, keys = Pattern(pattern), image_keys(images)
    found: dict[str, str] = {}
    for mask in files_below(folder, MASK_SUFFIXES):
        match = names.find(mask, keys)
        if match is not None:
            path = os.path.join(folder, mask)
            if match.image in found:
                raise ValueError(f"{match.image}: several masks, {found[match.image]} and {path}")
            found[match.image] = path
    return found


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


def describe_matches(matches: Sequence[Match], shown: int | None = None) -> str:
    """Write a table of how the names of masks were read: the first `shown`, or all of them."""
    rows = [(m.mask, m.image, m.label or "", m.number or "") for m in matches[:shown]]
    rows.insert(0, ("mask", "image", "class", "n"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    if len(matches) >= len(rows):
        lines.append(f"... and {len(matches) - len(rows) + 1} more (--show-matches)")
    return "\n".join(lines)
