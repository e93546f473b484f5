"""The classes of the embedded building-site data set, and which of them a set holds."""

from collections.abc import Collection, Sequence
from typing import Any

# Ids have gaps and stuff comes first, as data sets in the field do.
CATEGORIES: list[dict[str, Any]] = [
    {"id": 3, "name": "sky", "isthing": 0, "color": [110, 180, 230], "supercategory": "outdoor"},
    {"id": 7, "name": "concrete", "isthing": 0, "color": [140, 140, 140], "supercategory": "solid"},
    {"id": 11, "name": "soil", "isthing": 0, "color": [130, 90, 50], "supercategory": "ground"},
    {"id": 20, "name": "brick", "isthing": 1, "color": [200, 60, 50], "supercategory": "material"},
    {"id": 21, "name": "pipe", "isthing": 1, "color": [60, 110, 170], "supercategory": "material"},
    {"id": 34, "name": "barrel", "isthing": 1, "color": [230, 180, 30], "supercategory": "storage"},
    {"id": 40, "name": "crate", "isthing": 1, "color": [150, 70, 190], "supercategory": "storage"},
]
BY_NAME = {entry["name"]: entry for entry in CATEGORIES}
STUFF = ("sky", "concrete", "soil")
# The things of a set unless other things are asked for.
THINGS = ("brick", "pipe", "barrel")


def categories_of(things: Collection[str]) -> list[dict[str, Any]]:
    """The categories of a set with these things: all stuff and no other thing."""
    return [entry for entry in CATEGORIES if not entry["isthing"] or entry["name"] in things]


def check_names(what: str, names: Sequence[str], allowed: Collection[str]) -> None:
    """Reject names that are not among the allowed ones.

    Raises:
        ValueError: naming `what`, the unknown names and those allowed.
    """
    unknown = [name for name in dict.fromkeys(names) if name not in allowed]
    if unknown:
        raise ValueError(f"{what} {', '.join(unknown)}: allowed are {', '.join(allowed)}")
