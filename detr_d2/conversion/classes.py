"""The classes of a data set that is to be converted, and their ids in the result."""

import os
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detr_d2.utils.files import read_json, read_lines
from detr_d2.utils.yaml_files import read_yaml

NOT_A_CLASS = frozenset({"__ignore__", "_background_", "__background__"})


@dataclass(frozen=True)
class SourceClass:
    """One class as its source names it.

    `key` identifies it there: a pixel value, a category id, a label. `wanted_id` is the category id
    it should keep, None for a new one.
    """

    key: Hashable
    name: str
    isthing: bool
    wanted_id: int | None = None
    color: tuple[int, int, int] | None = None
    supercategory: str = ""


def parse_classes(text: str, isthing: bool = False) -> list[SourceClass]:
    """Read a list of classes.

    Args:
        text: "0=sky, 1=road, 8=car" (numbers, or colours as #rrggbb), or names alone (which are
            then the keys), or the path of a file: `.json` with entries that have `name` and
            optionally `id` or `value`, `isthing`, `color`; `.yaml` with `names` as in YOLO's
            data.yaml, numbered or from 0; or a text file with one class per line, whose value is
            the line number from 0 (a first line `__ignore__`, as labelme writes it, does not
            count).
        isthing: of classes that do not say it themselves.

    Raises:
        ValueError: a faulty entry, or two entries for one key.
    """
    if os.path.isfile(text):
        classes = _from_file(Path(text), isthing)
    else:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        classes = [_from_text(part, isthing) for part in parts]
    keys = [c.key for c in classes]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice or not classes:
        raise ValueError(f"classes {text!r}: " + (f"{twice} given twice" if twice else "none"))
    return classes


def _from_text(part: str, isthing: bool) -> SourceClass:
    value, separator, name = part.partition("=")
    if not separator:
        return SourceClass(part, part, isthing)
    if not name.strip():
        raise ValueError(f"class {part!r}: no name; write VALUE=NAME")
    return SourceClass(parse_value(value.strip()), name.strip(), isthing)


def parse_value(text: str) -> int:
    """Read a pixel value: a whole number, or a colour #rrggbb as R + 256 G + 65536 B."""
    try:
        if text.startswith("#") and len(text) == 7:
            red, green, blue = bytes.fromhex(text[1:])
            return red + 256 * green + 65536 * blue
        if int(text) >= 0:
            return int(text)
    except ValueError:
        pass
    raise ValueError(f"pixel value {text!r}: must be a whole number from 0 or a colour #rrggbb")


def _from_file(path: Path, isthing: bool) -> list[SourceClass]:
    if path.suffix.lower() == ".json":
        content = read_json(path)
        entries = content["categories"] if isinstance(content, dict) else content
        return [_from_entry(entry, isthing, path) for entry in entries]
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(path, isthing)
    names = [line.strip() for line in read_lines(path)]
    names = [name for name in names if name]
    if names[:1] == ["__ignore__"]:
        names = names[1:]
    return [SourceClass(i, n, isthing) for i, n in enumerate(names) if n not in NOT_A_CLASS]


def _from_yaml(path: Path, isthing: bool) -> list[SourceClass]:
    content = read_yaml(path)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(key, int) for key in names):
        raise ValueError(f"{path}: no names of classes, as a list or by number")
    return [SourceClass(key, str(name), isthing) for key, name in names.items()]


def _from_entry(entry: Mapping[str, Any], isthing: bool, path: Path) -> SourceClass:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise ValueError(f"{path}: class {entry!r} has no name")
    key = entry.get("value", entry.get("id", entry["name"]))
    color = entry.get("color")
    return SourceClass(
        key=parse_value(key) if isinstance(key, str) and key.startswith("#") else key,
        name=entry["name"],
        isthing=bool(entry.get("isthing", isthing)),
        wanted_id=entry.get("id"),
        color=(color[0], color[1], color[2]) if color else None,
        supercategory=str(entry.get("supercategory") or ""),
    )


def choose_things(
    classes: Iterable[SourceClass],
    things: Collection[str] | None = None,
    stuff: Collection[str] | None = None,
) -> list[SourceClass]:
    """Say which classes are things: those in `things`, or all but those in `stuff`.

    With both lists, a class in neither keeps what it was. A class whose name lists synonyms, as
    "road, route" of ADE20K, may be named by one that no other class has.

    Raises:
        ValueError: a name that no class has, or that is in both lists.
    """
    classes = list(classes)
    names = {c.name for c in classes}
    things, stuff = _whole_names(things, names), _whole_names(stuff, names)
    unknown = sorted({*(things or ()), *(stuff or ())} - names)
    both = sorted(set(things or ()) & set(stuff or ()))
    if unknown or both:
        what = f"{unknown} are no classes" if unknown else f"{both} are named as both"
        raise ValueError(f"things and stuff: {what}; the classes are {sorted(names)}")

    def decide(c: SourceClass) -> bool:
        if c.name in (things or ()):
            return True
        if c.name in (stuff or ()):
            return False
        only_things_named, only_stuff_named = stuff is None, things is None
        if (only_things_named and only_stuff_named) or not (only_things_named or only_stuff_named):
            return c.isthing
        return only_stuff_named

    return [replace(c, isthing=decide(c)) for c in classes]


def _whole_names(given: Collection[str] | None, names: Collection[str]) -> list[str] | None:
    """Names of classes for names or synonyms; what belongs to none or to several stays."""
    if given is None:
        return None
    owners: dict[str, list[str]] = {}
    for name in names:
        for synonym in {part.strip() for part in name.split(",")}:
            owners.setdefault(synonym, []).append(name)
    found = {one: owners.get(one, []) for one in given if one not in names}
    return [found[one][0] if len(found.get(one, ())) == 1 else one for one in given]


def assign_ids(
    classes: Sequence[SourceClass], taken: Sequence[Mapping[str, Any]] = ()
) -> tuple[list[dict[str, Any]], dict[Hashable, int]]:
    """Give every class its category id in the result.

    A class keeps its wanted id where that is free; an id or a name that another list (`taken`,
    COCO's for example) or an earlier class has gets the next id above all others, and a name that
    is taken a number behind it.

    Returns:
        Category entries (those of `taken` first), and the id for every key.
    """
    entries: list[dict[str, Any]] = [dict(entry) for entry in taken]
    used = {entry["id"] for entry in entries}
    names = {entry["name"] for entry in entries}
    wanted = {c.wanted_id for c in classes if c.wanted_id is not None}
    ids: dict[Hashable, int] = {}
    for c in classes:
        clash = c.name in names or c.wanted_id in used
        number = c.wanted_id
        if clash or number is None or number < 1:
            number = max([0, *used, *wanted]) + 1
        name, count = c.name, 2
        while name in names:
            name, count = f"{c.name}_{count}", count + 1
        used.add(number)
        names.add(name)
        ids[c.key] = number
        entry = {"id": number, "name": name, "isthing": int(c.isthing)}
        entry["supercategory"] = c.supercategory
        if c.color:
            entry["color"] = list(c.color)
        entries.append(entry)
    return entries, ids
