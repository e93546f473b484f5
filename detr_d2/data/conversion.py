"""Converting a whole set into COCO-panoptic form, in a folder that is whole at every moment.

    FOLDER/
      images/  panoptic/          photos and id PNGs, the same names but for the extension
      panoptic.json               or panoptic_train.json and panoptic_val.json
      classes.json                how the source's classes are called and numbered in the result
      conversion.json             the report

Work goes on in FOLDER.partial beside it, where a line of `done.jsonl` is written for every photo.
Only when all is done the folders change places. A conversion that was stopped goes on where it was,
if neither its arguments nor its inputs have changed.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from detr_d2.data.categories import CategoryTable
from detr_d2.data.classes import SourceClass, assign_ids
from detr_d2.data.coco_writer import write_panoptic_json
from detr_d2.data.conversion_work import (
    Task,
    Work,
    convert_photo,
    convert_tasks,
    start_worker,
)
from detr_d2.data.convert import Kind, Rules
from detr_d2.data.forms.base import Form, LeftOut, Sample, files_of
from detr_d2.data.journal import Journal
from detr_d2.data.partial_folder import PartialFolder
from detr_d2.data.photo_files import check_photo_mode
from detr_d2.data.splits import groups_by_look, groups_by_pattern, split_by_group
from detr_d2.ops.files import write_json

logger = logging.getLogger(__name__)

REPORT, DONE = "conversion.json", "done.jsonl"
TASKS_A_CALL, CALLS_A_WORKER = 4, 3
REST_KEY = "everything else"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Split:
    """How photos are divided: `share` of training, `seed`, and what stays together.

    `group`: None every photo is on its own; "look" photos that look alike; else a regular
    expression whose first bracket finds the group in the photo's name.
    """

    share: float
    seed: int = 0
    group: str | None = None


@dataclass
class Report:
    """What a conversion did. `left_out` has the reason for everything that gave no image."""

    images_in: int = 0
    images_out: int = 0
    segments: dict[str, int] = field(default_factory=dict)
    images_with: dict[str, int] = field(default_factory=dict)
    void_share: float = 0.0
    parts: dict[str, int] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


def convert_set(
    form: Form,
    folder: str | os.PathLike[str],
    *,
    rules: Rules | None = None,
    split: Split | None = None,
    base_categories: Sequence[Mapping[str, Any]] = (),
    photos: str = "link",
    workers: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Convert a set.

    Args:
        form: what to read.
        folder: where the result goes. What was there is replaced if an earlier conversion has
            written it.
        rules: how layers become segments.
        split: write a part for training and one for validation.
        base_categories: another list of classes (COCO's, say) that the result should have too;
            classes that clash with it get new ids and names.
        photos: "link" or "copy" the photos.
        workers: processes; 1 = this one.
        dry_run: read and count everything, write nothing.
        progress: called with (photos done, photos in all).

    Returns:
        The report, as written to `conversion.json`.

    Raises:
        ValueError: an argument is wrong, or no photo could be converted.
        FileExistsError: the folder holds something that no conversion has written.
        OSError: the result cannot be written; the earlier result is whole.
    """
    check_photo_mode(photos)
    rules = settle_rules(form, rules)
    partial = PartialFolder(folder, REPORT, scratch=(DONE,))
    classes, entries, ids, rest_id = settle_classes(form, rules, base_categories)
    kinds = tuple(Kind(c.key, c.isthing, ids[c.key]) for c in form.classes)
    samples = form.samples()
    if not samples:
        raise ValueError(f"{form.name}: no photo with annotation found; " + _reasons(form.left_out))
    fingerprint = conversion_fingerprint(form, rules, split, base_categories, photos)
    if not dry_run:
        partial.prepare(fingerprint)
    work = Work(form, kinds, rules, rest_id, None if dry_run else str(partial.path), photos)
    tally = _Tally(CategoryTable(entries), form)
    tasks = _tasks(samples)
    if dry_run:
        for result in _run(work, tasks, workers):
            tally.add(result)
            _tell(progress, tally, samples)
        return tally.finish(split)
    with Journal(partial.path / DONE, "sample") as journal:
        for sample in journal:
            tally.add(journal.read(sample))
        waiting = [task for task in tasks if task[0].name not in journal]
        for result in _run(work, waiting, workers):
            if "reason" not in result:
                journal.write(result)
            tally.add(result)
            _tell(progress, tally, samples)
        report = tally.finish(split)
        if report.images_out:
            _write_parts(partial.path, journal, tally.parts, CategoryTable(entries))
    if not report.images_out:
        partial.discard()
        raise ValueError(f"{form.name}: no photo could be converted; {_reasons(report.left_out)}")
    write_json(partial.path / "classes.json", _class_mapping(classes, ids, entries), indent=1)
    content = {"fingerprint": fingerprint, "form": form.name, **asdict(report)}
    write_json(partial.path / REPORT, content, indent=1)
    partial.finish()
    return report


def conversion_fingerprint(
    form: Form,
    rules: Rules,
    split: Split | None = None,
    base_categories: Sequence[Mapping[str, Any]] = (),
    photos: str = "link",
) -> str:
    """A hash of all that decides the result: arguments, and name, size and time of every input."""
    settings = asdict(form)
    asked = [form.name, settings, asdict(rules), split and asdict(split), list(base_categories)]
    text = json.dumps([*asked, photos], default=str, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    paths = set(files_of(form.samples()))
    paths |= {str(v) for v in settings.values() if isinstance(v, (str, Path)) and os.path.isfile(v)}
    for path in sorted(paths):
        state = os.stat(path)
        digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def settle_rules(form: Form, rules: Rules | None) -> Rules:
    """The rules with the form's own choice where they leave one."""
    rules = rules or Rules()
    if rules.things is not None:
        return rules
    return replace(rules, things=form.default_things)  # type: ignore[arg-type]


def settle_classes(
    form: Form, rules: Rules, base: Sequence[Mapping[str, Any]]
) -> tuple[list[SourceClass], list[dict[str, Any]], dict[Any, int], int | None]:
    """The classes with the one for the rest, their entries and ids, and the rest's id."""
    classes = list(form.classes)
    if rules.rest is not None:
        same = [c for c in classes if c.name == rules.rest]
        if same and same[0].isthing:
            raise ValueError(f"rest {rules.rest!r} is a thing; what is left can only be stuff")
        if not same:
            classes.append(SourceClass(REST_KEY, rules.rest, False))
    entries, ids = assign_ids(classes, base)
    rest = [c for c in classes if c.name == rules.rest]
    return classes, entries, ids, ids[rest[0].key] if rest else None


def _class_mapping(
    classes: Sequence[SourceClass], ids: Mapping[Any, int], entries: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    names = {entry["id"]: entry["name"] for entry in entries}
    return [
        {
            "source": c.key if isinstance(c.key, (int, str)) else str(c.key),
            "source_name": c.name,
            "id": ids[c.key],
            "name": names[ids[c.key]],
            "isthing": int(c.isthing),
        }
        for c in classes
    ]


def _tasks(samples: Sequence[Sample]) -> list[Task]:
    """Give every sample its image id and its name in the result."""
    keep = all(sample.image_id is not None for sample in samples)
    bare = Counter(os.path.splitext(s.name.rsplit("/", 1)[-1])[0].lower() for s in samples)
    tasks = []
    for number, sample in enumerate(samples, start=1):
        name = sample.name
        if bare[os.path.splitext(name.rsplit("/", 1)[-1])[0].lower()] > 1:
            # Evaluators name their files by the photo's bare name: put the folders into it.
            name = name.replace("/", "__")
        image_id = sample.image_id if keep and sample.image_id is not None else number
        tasks.append((sample, image_id, name))
    return tasks


def _run(work: Work, tasks: Sequence[Task], workers: int) -> Iterator[dict[str, Any]]:
    """Results as they come, with a bounded number of tasks under way."""
    if workers <= 1 or len(tasks) <= TASKS_A_CALL:
        for task in tasks:
            yield convert_photo(work, task)
        return
    starts = iter(range(0, len(tasks), TASKS_A_CALL))
    with ProcessPoolExecutor(workers, initializer=start_worker, initargs=(work,)) as pool:
        running: set[Future[list[dict[str, Any]]]] = set()
        try:
            while True:
                for start in starts:
                    running.add(pool.submit(convert_tasks, tasks[start : start + TASKS_A_CALL]))
                    if len(running) >= workers * CALLS_A_WORKER:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        except BrokenProcessPool as error:
            raise OSError(
                "a worker process ended by force (out of memory?); what is done is kept, start "
                "again with fewer workers"
            ) from error
        finally:
            for future in running:
                future.cancel()


def _tell(progress: Progress | None, tally: "_Tally", samples: Sequence[Sample]) -> None:
    if progress is not None:
        progress(tally.report.images_in, len(samples))


class _Tally:
    """Counts for the report, and what the split needs of every photo."""

    def __init__(self, table: CategoryTable, form: Form) -> None:
        self.names = {c.id: c.name for c in table.categories}
        self.report = Report(left_out=list(form.left_out))
        self.report.segments = dict.fromkeys(self.names.values(), 0)
        self.report.images_with = dict.fromkeys(self.names.values(), 0)
        self.looks: dict[str, int] = {}
        self.parts: dict[str, str] = {}
        self._void = 0.0

    def add(self, result: dict[str, Any]) -> None:
        report = self.report
        report.images_in += 1
        if "reason" in result:
            report.left_out.append(LeftOut(result["sample"], result["reason"]))
            return
        report.images_out += 1
        self._void += result["void"]
        self.looks[result["sample"]] = result["look"]
        found = [self.names[s["category_id"]] for s in result["annotation"]["segments_info"]]
        for name in found:
            report.segments[name] += 1
        for name in set(found):
            report.images_with[name] += 1

    def finish(self, split: Split | None) -> Report:
        self.parts = _divide(self.looks, split)
        self.report.parts = dict(Counter(self.parts.values())) if split else {}
        self.report.void_share = round(self._void / max(1, self.report.images_out), 4)
        self.report.left_out.sort(key=lambda left_out: left_out.name)
        return self.report


def _divide(looks: Mapping[str, int], split: Split | None) -> dict[str, str]:
    """The part (train, val, or "") of every sample."""
    samples = sorted(looks)
    if split is None or not samples:
        return dict.fromkeys(samples, "")
    if split.group is None:
        groups = samples
    elif split.group == "look":
        groups = groups_by_look([looks[sample] for sample in samples])
    else:
        groups = groups_by_pattern(samples, split.group)
    chosen = split_by_group(groups, split.share, split.seed)
    return {s: "train" if c else "val" for s, c in zip(samples, chosen, strict=True)}


def _write_parts(
    folder: Path, journal: Journal, parts: Mapping[str, str], table: CategoryTable
) -> None:
    """Write one panoptic JSON a part; entries go from file to file, never all in memory."""
    for part in sorted(set(parts.values())):
        chosen = sorted(sample for sample in parts if parts[sample] == part)
        write_panoptic_json(
            folder / (f"panoptic_{part}.json" if part else "panoptic.json"),
            images=(journal.read(sample)["image"] for sample in chosen),
            annotations=(journal.read(sample)["annotation"] for sample in chosen),
            categories=table,
            description=f"converted by detr_d2 {part}".strip(),
        )


def _reasons(left_out: Sequence[LeftOut]) -> str:
    shown = "; ".join(f"{item.name}: {item.reason}" for item in left_out[:5])
    return f"{len(left_out)} left out" + (f": {shown}" if shown else "")
