"""What a conversion will do, settled before the first image is read."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from detr_d2.conversion.canvas import Kind
from detr_d2.conversion.classes import SourceClass, assign_ids
from detr_d2.conversion.convert_image import Task
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, files_of
from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.splits import Split
from detr_d2.data.categories import CategoryTable

REST_KEY = "everything else"


@dataclass(frozen=True)
class ClassPlan:
    """The source's classes and what becomes of them.

    `classes` are the format's, and the one for the rest if it is new; `ids` the category id of each
    class' key; `entries` the categories of the result; `rest_id` the id for the rest, if any.
    """

    classes: tuple[SourceClass, ...]
    ids: Mapping[Hashable, int]
    entries: tuple[Mapping[str, Any], ...]
    rest_id: int | None

    def table(self) -> CategoryTable:
        """The categories of the result."""
        return CategoryTable(self.entries)

    def kinds(self, annotation_format: AnnotationFormat) -> tuple[Kind, ...]:
        """The annotation format's classes as `paint` needs them."""
        return tuple(Kind(c.key, c.isthing, self.ids[c.key]) for c in annotation_format.classes)

    def mapping(self) -> list[dict[str, Any]]:
        """How every class of the source is called and numbered in the result."""
        names = {entry["id"]: entry["name"] for entry in self.entries}
        return [
            {
                "source": c.key if isinstance(c.key, (int, str)) else str(c.key),
                "source_name": c.name,
                "id": self.ids[c.key],
                "name": names[self.ids[c.key]],
                "isthing": int(c.isthing),
            }
            for c in self.classes
        ]


def settle_rules(annotation_format: AnnotationFormat, rules: Rules | None) -> Rules:
    """The rules with the annotation format's own choice where they leave one."""
    rules = rules or Rules()
    if rules.things is not None:
        return rules
    return replace(rules, things=annotation_format.default_things)  # type: ignore[arg-type]


def settle_classes(
    annotation_format: AnnotationFormat, rules: Rules, base: Sequence[Mapping[str, Any]] = ()
) -> ClassPlan:
    """Number the format's classes, and one for the rest if the rules name it, beside `base`.

    Raises:
        ValueError: the class for the rest is a thing.
    """
    classes = list(annotation_format.classes)
    rest = [c for c in classes if c.name == rules.rest]
    if rest and rest[0].isthing:
        raise ValueError(f"rest {rules.rest!r} is a thing; what is left can only be stuff")
    if rules.rest is not None and not rest:
        rest = [SourceClass(REST_KEY, rules.rest, False)]
        classes += rest
    entries, ids = assign_ids(classes, base)
    return ClassPlan(tuple(classes), ids, tuple(entries), ids[rest[0].key] if rest else None)


def name_tasks(samples: Sequence[Sample]) -> list[Task]:
    """Give every sample its image id and its name in the result."""
    keep = all(sample.image_id is not None for sample in samples)
    bare = Counter(os.path.splitext(s.name.rsplit("/", 1)[-1])[0].lower() for s in samples)
    tasks = []
    for number, sample in enumerate(samples, start=1):
        name = sample.name
        if bare[os.path.splitext(name.rsplit("/", 1)[-1])[0].lower()] > 1:
            # Evaluators name their files by the image's bare name: put the folders into it.
            name = name.replace("/", "__")
        image_id = sample.image_id if keep and sample.image_id is not None else number
        tasks.append((sample, image_id, name))
    return tasks


def conversion_fingerprint(
    annotation_format: AnnotationFormat,
    rules: Rules,
    split: Split | None = None,
    base_categories: Sequence[Mapping[str, Any]] = (),
    images: str = "link",
) -> str:
    """A hash of all that decides the result: arguments, and name, size and time of every input."""
    settings = asdict(annotation_format)
    asked = [
        annotation_format.name,
        settings,
        asdict(rules),
        split and asdict(split),
        list(base_categories),
    ]
    text = json.dumps([*asked, images], default=str, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    paths = set(files_of(annotation_format.samples()))
    paths |= {str(v) for v in settings.values() if isinstance(v, (str, Path)) and os.path.isfile(v)}
    for path in sorted(paths):
        state = os.stat(path)
        digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
