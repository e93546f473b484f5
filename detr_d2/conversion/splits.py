"""Dividing images between training and validation."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detr_d2.conversion.near_duplicates import groups_by_hash

# `Split.group` for images that look alike.
BY_HASH = "perceptual-hash"


@dataclass(frozen=True)
class Split:
    """How images are divided: `share` of training, `seed`, and which images stay together.

    `group`: None for every image on its own; "perceptual-hash" for images that look alike; else a
    regular expression whose first group finds the image's group in its name.
    """

    share: float
    seed: int = 0
    group: str | None = None


def split_images(hashes: Mapping[str, int], split: Split | None) -> dict[str, str]:
    """Give every image its part: "train" or "val", or "" for all without a split.

    Args:
        hashes: perceptual hash of every image (see `image_io.inspect_image`), by its name.
        split: how to divide.

    Raises:
        ValueError: all images are one group, so that a part would be empty; or see
            `split_by_group` and `groups_by_pattern`.
    """
    names = sorted(hashes)
    if split is None or not names:
        return dict.fromkeys(names, "")
    if split.group is None:
        groups = names
    elif split.group == BY_HASH:
        groups = groups_by_hash([hashes[name] for name in names])
    else:
        groups = groups_by_pattern(names, split.group)
    _reject_one_group(groups, split.group)
    chosen = split_by_group(groups, split.share, split.seed)
    return {n: "train" if c else "val" for n, c in zip(names, chosen, strict=True)}


def check_split(names: Sequence[str], split: Split | None) -> None:
    """Reject a split before the conversion, as far as names tell.

    Raises:
        ValueError: as `split_images`; whether images look alike is not known yet.
    """
    if split is not None and split.group != BY_HASH:
        split_images(dict.fromkeys(names, 0), split)


def _reject_one_group(groups: Sequence[str], by: str | None) -> None:
    if len(set(groups)) > 1:
        return
    one = f"all {len(groups)} images are one group by {by!r}" if by else "there is one image"
    raise ValueError(
        f"split: {one}, so the part for training or that for validation would be empty; convert "
        "without --split, or choose the groups by another --group-by"
    )


def split_by_group(groups: Sequence[str], share: float, seed: int) -> list[bool]:
    """Choose images for training, whole groups at a time.

    Groups are shuffled by the seed, and each goes to training while that brings training closer to
    its share. Neither part stays empty where there are two groups or more.

    Args:
        groups: the group of every image.
        share: part of the images that go to training, between 0 and 1.
        seed: the same seed gives the same choice, whatever the order of the images.

    Returns:
        For every image whether it is for training.
    """
    if not 0 < share < 1:
        raise ValueError(f"share of training {share}, must be between 0 and 1")
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    sizes = dict.fromkeys(names, 0)
    for group in groups:
        sizes[group] += 1
    wanted, count = share * len(groups), 0
    chosen: set[str] = set()
    for name in names:
        if abs(count + sizes[name] - wanted) <= abs(count - wanted):
            chosen.add(name)
            count += sizes[name]
    if len(names) > 1 and not chosen:
        chosen.add(names[0])
    if len(names) > 1 and len(chosen) == len(names):
        chosen.discard(names[-1])
    return [group in chosen for group in groups]


def groups_by_pattern(names: Sequence[str], pattern: str) -> list[str]:
    """Take the group of every image from its name: the first group of a regular expression.

    Raises:
        ValueError: no expression, or one without a group, or a name does not match it.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group pattern {pattern!r} is no regular expression: {error}") from error
    if expression.groups < 1:
        raise ValueError(f"group pattern {pattern!r} has no brackets around the group")
    found = [expression.search(name) for name in names]
    unmatched = [name for name, match in zip(names, found, strict=True) if match is None]
    if unmatched:
        raise ValueError(f"group pattern {pattern!r} does not match {unmatched[:5]}")
    return [match.group(1) for match in found if match is not None]
