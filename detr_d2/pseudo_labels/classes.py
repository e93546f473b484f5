"""Map the classes of a pretrained model to those of a custom data set's labels."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.data import MetadataCatalog

from detr_d2.conversion.classes import SourceClass, assign_ids
from detr_d2.data.categories import CategoryTable, contiguous_ids
from detr_d2.pseudo_labels.coco_stuff import SUPERCATEGORY

logger = logging.getLogger(__name__)

STUFF_CHOICES = ("names", "supercategories")
THING_CHOICES = ("misc", "void", "keep")
MISC = "misc"
# In a mapping: the key for every class that it does not name.
ALL_OTHERS = "*"


@dataclass(frozen=True)
class ModelClass:
    """A class of the model: (isthing, index) is how its segments name it."""

    index: int
    isthing: bool
    name: str
    id: int | None = None
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class LabelPlan:
    """The classes of the result, and the class there of each class of the model.

    `custom` are the category ids of the custom set, which stay as they are; `model` the category
    id in the result for (isthing, index) of the model's classes, None for those that become void;
    `names` the model's own names and `ids` its own category ids.
    """

    table: CategoryTable
    custom: frozenset[int]
    model: Mapping[tuple[bool, int], int | None]
    names: Mapping[tuple[bool, int], str]
    ids: Mapping[tuple[bool, int], int | None]

    def mapping(self) -> list[dict[str, Any]]:
        """The class in the result of every class, as written beside the data."""
        by_id = {c.id: c for c in self.table.categories}
        rows: list[tuple[str, str, int | None, int | None]] = [
            ("custom", c.name, c.id, c.id) for c in self.table.categories if c.id in self.custom
        ]
        rows += [
            ("model", self.names[key], self.ids[key], new)
            for key, new in sorted(self.model.items(), key=lambda item: (not item[0][0], item[0]))
        ]
        return [
            {
                "source": source,
                "source_name": name,
                "source_id": old,
                "id": new,
                "name": None if new is None else by_id[new].name,
            }
            for source, name, old, new in rows
        ]


def model_classes(dataset_names: Sequence[str]) -> list[ModelClass]:
    """The classes of a model from the metadata of the data sets of its config.

    Both conventions of Detectron2 are understood: one common list of contiguous ids (this package,
    "coco_panoptic_standard"), or a list of things and one of stuff, each counted from 0
    ("coco_panoptic_separated", Panoptic FPN), whose stuff class "things" stands for all things.

    Raises:
        ValueError: none of the sets is registered with its classes.
    """
    for name in dataset_names:
        meta = MetadataCatalog.get(name)
        things, stuff = contiguous_ids(meta)
        if things or stuff:
            found = _listed(things, True, meta.get("thing_classes", []), meta)
            return found + _listed(stuff, False, meta.get("stuff_classes", []), meta)
    raise ValueError(
        f"the model's classes are unknown: none of {list(dataset_names)} (DATASETS.TRAIN and "
        "DATASETS.TEST of its config) is registered; give the model's categories"
    )


def _listed(
    ids: Mapping[int, int], isthing: bool, names: Sequence[str], meta: Any
) -> list[ModelClass]:
    colors = meta.get("thing_colors" if isthing else "stuff_colors", [])
    found = []
    for own_id, index in sorted(ids.items(), key=lambda item: item[1]):
        color = tuple(colors[index]) if index < len(colors) else None
        # All things together, at the head of a separated stuff list, are no class.
        if isthing or (index, names[index]) != (0, "things"):
            found.append(ModelClass(index, isthing, names[index], own_id, color))
    return found


def plan_classes(
    custom: CategoryTable,
    model: Sequence[ModelClass],
    *,
    stuff: str = "names",
    things: str = "misc",
    mapping: Mapping[str, str | None] | None = None,
) -> LabelPlan:
    """Decide what every class of the model becomes.

    The custom classes keep their ids and names. A class of the model whose id or name one of them
    has gets the next free id, and a number behind its name.

    Args:
        custom: the classes of the custom masks.
        model: the classes of the model.
        stuff: what its stuff becomes: "names" the same, "supercategories" COCO's fifteen.
        things: what its things become: "misc" one stuff class of that name, "void", or "keep".
        mapping: name of a model's class -> name of the result's stuff class, None for void; "*" for
            all that are not named. It goes before the two choices; with `things` "keep" a thing
            that is mapped to its own name stays a thing.

    Raises:
        ValueError: an unknown choice, a name in the mapping that the model does not have, or no
            supercategory known for a stuff class.
    """
    if stuff not in STUFF_CHOICES or things not in THING_CHOICES:
        raise ValueError(
            f"stuff {stuff!r}, allowed: {STUFF_CHOICES}; things {things!r}, allowed: "
            f"{THING_CHOICES}"
        )
    mapping = dict(mapping or {})
    _check_mapping(mapping, custom, model)
    _check_supercategories(model, stuff, mapping)
    wanted = {(c.isthing, c.index): _target(c, stuff, things, mapping) for c in model}
    entries, ids = assign_ids(_source_classes(model, wanted), custom.to_json())
    return LabelPlan(
        table=CategoryTable(entries, "classes of the labels"),
        custom=frozenset(c.id for c in custom.categories),
        model={key: None if target is None else ids[target] for key, target in wanted.items()},
        names={(c.isthing, c.index): c.name for c in model},
        ids={(c.isthing, c.index): c.id for c in model},
    )


def _check_mapping(
    mapping: Mapping[str, str | None], custom: CategoryTable, model: Sequence[ModelClass]
) -> None:
    names = {c.name for c in model}
    unknown = sorted(set(mapping) - names - {ALL_OTHERS})
    if unknown:
        raise ValueError(f"mapping: the model has no class {unknown}; it has {sorted(names)}")
    own = {c.name for c in custom.categories}
    wrong = {
        key: name
        for key, name in mapping.items()
        if name is not None and (not isinstance(name, str) or not name or name in own)
    }
    if wrong:
        raise ValueError(
            f"mapping: {wrong}: must be the name of a stuff class, or null for void; not one of "
            f"your own classes {sorted(own)}, whose masks stay as they are"
        )


def _source_classes(
    model: Sequence[ModelClass], wanted: Mapping[tuple[bool, int], tuple[str, bool] | None]
) -> list[SourceClass]:
    """The classes that those of the model become, each once, keyed by name and kind.

    Args:
        model: the classes of the model.
        wanted: name and kind of what each becomes, by (isthing, index); None for void.
    """
    sources: dict[tuple[str, bool], SourceClass] = {}
    for c in model:
        target = wanted[c.isthing, c.index]
        if target is not None and target not in sources:
            # Its own id and colour where it stays what it is; a class of several has neither.
            same = target == (c.name, c.isthing)
            sources[target] = SourceClass(
                target, *target, c.id if same else None, c.color if same else None
            )
    return list(sources.values())


def _target(
    c: ModelClass, stuff: str, things: str, mapping: Mapping[str, str | None]
) -> tuple[str, bool] | None:
    """Name and kind of what a class becomes, None for void."""
    if c.name in mapping or ALL_OTHERS in mapping:
        name = mapping[c.name] if c.name in mapping else mapping[ALL_OTHERS]
        return None if name is None else (name, c.isthing and things == "keep" and name == c.name)
    if c.isthing:
        return {"misc": (MISC, False), "void": None, "keep": (c.name, True)}[things]
    if stuff == "names":
        return c.name, False
    return SUPERCATEGORY[c.name], False


def _check_supercategories(
    model: Sequence[ModelClass], stuff: str, mapping: Mapping[str, str | None]
) -> None:
    if stuff != "supercategories" or ALL_OTHERS in mapping:
        return
    unknown = sorted(
        c.name
        for c in model
        if not c.isthing and c.name not in mapping and c.name not in SUPERCATEGORY
    )
    if unknown:
        raise ValueError(
            f"stuff classes {unknown}: COCO has no such classes and so no supercategories; use a "
            "mapping, or the names"
        )
