"""Categories of a panoptic data set and their contiguous ids.

The network knows one list of classes: things first, then stuff, each in the order of their ids
in the data set. Detectron2's `coco_panoptic_standard` data sets use the same convention.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.data import MetadataCatalog

from detr_d2.utils.colors import default_color

IGNORE_LABEL = 255
LABEL_DIVISOR = 1000


@dataclass(frozen=True)
class Category:
    """One class of a data set. `id` is the data set's own id: it may start anywhere, with gaps."""

    id: int
    name: str
    isthing: bool
    color: tuple[int, int, int]
    supercategory: str


class CategoryTable:
    """The classes of a data set in the order of their contiguous ids.

    Args:
        categories: COCO-panoptic category entries, in any order: `id`, `name`, `isthing` (0, 1 or
            a bool), and if there `color` ([R, G, B], 0..255) and `supercategory`.
        source: where the entries come from, for error messages.

    Raises:
        ValueError: every faulty entry, all in one message.
    """

    def __init__(self, categories: Iterable[Mapping[str, Any]], source: str = "categories") -> None:
        entries = list(categories)
        faults = [f for number, entry in enumerate(entries) for f in category_faults(number, entry)]
        if not entries:
            faults.append("the list is empty")
        ids = [
            entry["id"]
            for number, entry in enumerate(entries)
            if not category_faults(number, entry)
        ]
        faults += [f"id {i} occurs more than once" for i in {i for i in ids if ids.count(i) > 1}]
        if faults:
            raise ValueError(f"{source}: wrong categories:\n  " + "\n  ".join(faults))
        things_first = sorted(entries, key=lambda entry: (not entry["isthing"], entry["id"]))
        self.categories = [_make(entry, i) for i, entry in enumerate(things_first)]
        self.contiguous_ids = {c.id: i for i, c in enumerate(self.categories)}

    def __len__(self) -> int:
        return len(self.categories)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CategoryTable) and self.categories == other.categories

    def thing_flags(self) -> dict[int, bool]:
        """Whether it is a thing, for every id of the data set."""
        return {c.id: c.isthing for c in self.categories}

    def to_json(self) -> list[dict[str, Any]]:
        """The entries of a COCO-panoptic file, in the order of the contiguous ids."""
        return [
            {
                "id": c.id,
                "name": c.name,
                "supercategory": c.supercategory,
                "isthing": int(c.isthing),
                "color": list(c.color),
            }
            for c in self.categories
        ]

    def metadata(self) -> dict[str, Any]:
        """Make the metadata that Detectron2's evaluators and visualizer read.

        `thing_classes` and `stuff_classes` are both the full list, since predictions carry the
        common contiguous id; the two id maps hold things only and stuff only.
        """
        names = [c.name for c in self.categories]
        colors = [list(c.color) for c in self.categories]
        ids = self.contiguous_ids
        return {
            "thing_classes": names,
            "stuff_classes": list(names),
            "thing_colors": colors,
            "stuff_colors": [list(color) for color in colors],
            "thing_dataset_id_to_contiguous_id": {
                c.id: ids[c.id] for c in self.categories if c.isthing
            },
            "stuff_dataset_id_to_contiguous_id": {
                c.id: ids[c.id] for c in self.categories if not c.isthing
            },
            "ignore_label": IGNORE_LABEL,
            "label_divisor": LABEL_DIVISOR,
        }


def check_same_classes(dataset_names: Sequence[str]) -> None:
    """Check that registered sets number the same classes in the same way.

    A model knows classes by their contiguous ids, so that sets with other lists would train and
    score one class as another.

    Raises:
        ValueError: two sets differ in the ids, the names or the kinds of their classes.
    """
    first: dict[bool, tuple[str, dict[int, tuple[int, str]]]] = {}
    for name in dataset_names:
        for isthing, classes in _registered_classes(name).items():
            other, expected = first.setdefault(isthing, (name, classes))
            if classes != expected:
                differing = sorted(
                    f"{kind} {category_id}: index {index} {label!r} in {source}"
                    for kind in ("thing" if isthing else "stuff",)
                    for source, found, against in (
                        (other, expected, classes),
                        (name, classes, expected),
                    )
                    for category_id, (index, label) in found.items()
                    if against.get(category_id) != (index, label)
                )
                raise ValueError(
                    f"data sets {other!r} and {name!r} have different classes:\n  "
                    + "\n  ".join(differing)
                )


def _registered_classes(dataset_name: str) -> dict[bool, dict[int, tuple[int, str]]]:
    """Contiguous id and name by the data set's id: of things (True) and of stuff (False)."""
    metadata = MetadataCatalog.get(dataset_name)
    found = {}
    for kind, ids in zip(("thing", "stuff"), contiguous_ids(metadata), strict=True):
        names = metadata.get(f"{kind}_classes")
        if names is not None and metadata.get(f"{kind}_dataset_id_to_contiguous_id") is not None:
            found[kind == "thing"] = {key: (index, names[index]) for key, index in ids.items()}
    return found


def contiguous_ids(metadata: Any) -> tuple[dict[int, int], dict[int, int]]:
    """Return the contiguous ids of a registered set's things and of its stuff, by its own ids.

    Some sets list the things among the stuff too, for Detectron2's semantic evaluator.
    """
    things = metadata.get("thing_dataset_id_to_contiguous_id") or {}
    stuff = metadata.get("stuff_dataset_id_to_contiguous_id") or {}
    return dict(things), {key: index for key, index in stuff.items() if key not in things}


def category_faults(number: int, entry: Any) -> list[str]:
    """Describe the faults of one entry; an empty list when it is sound."""
    if not isinstance(entry, Mapping):
        return [f"entry {number} is {entry!r:.80}, must be an object"]
    where = f"entry {number} ({entry.get('name', 'without a name')})"
    found = []
    category_id = entry.get("id")
    if not isinstance(category_id, int) or isinstance(category_id, bool) or category_id < 0:
        found.append(f"{where}: id {category_id!r}, must be an integer from 0")
    if not isinstance(entry.get("name"), str) or not entry["name"]:
        found.append(f"{where}: name {entry.get('name')!r}, must be a non-empty string")
    if entry.get("isthing") not in (0, 1):
        found.append(f"{where}: isthing {entry.get('isthing')!r}, must be 0 or 1")
    color = entry.get("color")
    if color is not None and not _is_color(color):
        found.append(f"{where}: color {color!r}, must be three integers in 0..255")
    return found


def _is_color(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(isinstance(v, int) and 0 <= v <= 255 for v in value)
    )


def _make(entry: Mapping[str, Any], index: int) -> Category:
    color = entry.get("color") or default_color(index)
    return Category(
        id=entry["id"],
        name=entry["name"],
        isthing=bool(entry["isthing"]),
        color=(color[0], color[1], color[2]),
        supercategory=str(entry.get("supercategory", "")),
    )
