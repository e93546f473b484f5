"""Decide classes, ids and names of a conversion before the first image is read."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from detr_d2.conversion.classes import SourceClass, assign_ids
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, files_of
from detr_d2.conversion.rasterize import Rules, TargetClass
from detr_d2.conversion.splits import Split
from detr_d2.conversion.workers import ImageTask
from detr_d2.data.categories import CategoryTable

BACKGROUND_KEY = "everything else"


@dataclass(frozen=True)
class ClassMapping:
    """The source's classes and their categories in the result.

    `classes` are the format's, and the background class if it is new; `ids` the category id of each
    class' key; `entries` the categories of the result; `background_id` the background's, if any.
    """

    classes: tuple[SourceClass, ...]
    ids: Mapping[Hashable, int]
    entries: tuple[Mapping[str, Any], ...]
    background_id: int | None

    def table(self) -> CategoryTable:
        """The categories of the result."""
        return CategoryTable(self.entries)

    def targets(self, annotation_format: AnnotationFormat) -> tuple[TargetClass, ...]:
        """The annotation format's classes as `rasterize` needs them."""
        classes = annotation_format.classes
        return tuple(TargetClass(c.key, c.isthing, self.ids[c.key]) for c in classes)

    def to_json(self) -> list[dict[str, Any]]:
        """Name and id in the result of every class of the source."""
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


def complete_rules(annotation_format: AnnotationFormat, rules: Rules | None) -> Rules:
    """Complete the rules with the annotation format's own choice for things."""
    rules = rules or Rules()
    if rules.things is not None:
        return rules
    return replace(rules, things=annotation_format.default_things)  # type: ignore[arg-type]


def map_classes(
    annotation_format: AnnotationFormat, rules: Rules, base: Sequence[Mapping[str, Any]] = ()
) -> ClassMapping:
    """Number the format's classes, and the background class if the rules name one, beside `base`.

    Raises:
        ValueError: the background class is a thing.
    """
    classes = list(annotation_format.classes)
    background = [c for c in classes if c.name == rules.background_class]
    if background and background[0].isthing:
        raise ValueError(
            f"background class {rules.background_class!r} is a thing; it must be stuff"
        )
    if rules.background_class is not None and not background:
        background = [SourceClass(BACKGROUND_KEY, rules.background_class, False)]
        classes += background
    entries, ids = assign_ids(classes, base)
    background_id = ids[background[0].key] if background else None
    return ClassMapping(tuple(classes), ids, tuple(entries), background_id)


def name_tasks(samples: Sequence[Sample]) -> list[ImageTask]:
    """Give every sample its image id and its file name in the result."""
    keep = all(sample.image_id is not None for sample in samples)
    bare = Counter(os.path.splitext(s.name.rsplit("/", 1)[-1])[0].lower() for s in samples)
    tasks = []
    for number, sample in enumerate(samples, start=1):
        name = sample.name
        if bare[os.path.splitext(name.rsplit("/", 1)[-1])[0].lower()] > 1:
            # Evaluators name their files by the image's bare name: put the folders into it.
            name = name.replace("/", "__")
        image_id = sample.image_id if keep and sample.image_id is not None else number
        tasks.append(ImageTask(sample, image_id, name))
    return tasks


def conversion_fingerprint(
    annotation_format: AnnotationFormat,
    rules: Rules,
    split: Split | None = None,
    base_categories: Sequence[Mapping[str, Any]] = (),
    images: str = "link",
) -> str:
    """Hash everything the result depends on: arguments, and name, size and time of every input.

    An input that is absent counts too: its image is skipped, and converted once it is there.
    """
    settings = asdict(annotation_format)
    arguments = [
        annotation_format.name,
        settings,
        asdict(rules),
        split and asdict(split),
        list(base_categories),
    ]
    text = json.dumps([*arguments, images], default=str, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    paths = set(files_of(annotation_format.samples))
    paths |= {str(v) for v in settings.values() if isinstance(v, (str, Path)) and os.path.isfile(v)}
    for path in sorted(paths):
        digest.update(os.fsencode(f"{path}\0{_state_of(path)}\n"))
    return digest.hexdigest()


def _state_of(path: str) -> str:
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return "absent"
    return f"{state.st_size}\0{state.st_mtime_ns}"
