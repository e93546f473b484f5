"""The findings of a check, one page that lists them, and the types of a JSON's fields."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One fault: `kind` groups like faults, `item` is the id it is about, `expected` what it
    should be or what to do."""

    severity: str
    kind: str
    file: str
    item: str
    found: str
    expected: str

    def __str__(self) -> str:
        item = f" {self.item}" if self.item else ""
        return f"{self.file}:{item} {self.found}; {self.expected}"


class Page:
    """One page of findings: counts of every kind, and the first few of each.

    Args:
        shown: how many of a kind are kept.
    """

    def __init__(self, shown: int = 3) -> None:
        self.shown = shown
        self.counts: Counter[tuple[str, str]] = Counter()
        self.examples: dict[tuple[str, str], list[Finding]] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings."""
        for finding in findings:
            kind = (finding.severity, finding.kind)
            self.counts[kind] += 1
            examples = self.examples.setdefault(kind, [])
            if len(examples) < self.shown:
                examples.append(finding)

    def count(self, severity: str) -> int:
        """How many findings are of a severity."""
        return sum(n for (s, _), n in self.counts.items() if s == severity)

    def __str__(self) -> str:
        lines = [", ".join(f"{self.count(s)} {s}s" for s in SEVERITIES)]
        kinds = sorted(
            self.counts, key=lambda kind: (SEVERITIES.index(kind[0]), -self.counts[kind])
        )
        for kind in kinds:
            lines.append(f"{kind[0].upper()} {kind[1]} ({self.counts[kind]})")
            lines += [f"    {finding}" for finding in self.examples[kind]]
            if self.counts[kind] > self.shown:
                lines.append(f"    ... and {self.counts[kind] - self.shown} more")
        return "\n".join(lines)


Entry = Mapping[str, Any]
LONGEST_SHOWN = 120


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_key(value: Any) -> bool:
    return _is_integer(value) or isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_box(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))
    )


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


# What each field must be, and how that is said. Values that are well typed but wrong are left to
# the checks that know what they should be.
IMAGE = {"id": (_is_key, "a number or a text"), "file_name": (_is_name, "a text")}
ANNOTATION = {
    "image_id": (_is_key, "a number or a text"),
    "file_name": (_is_name, "a text"),
    "segments_info": (_is_list_of_objects, "a list of objects"),
}
SEGMENT = {
    "id": (_is_integer, "an integer"),
    "category_id": (_is_integer, "an integer"),
    "area": (_is_number, "a number"),
    "bbox": (_is_box, "four numbers, or absent"),
}
Fields = Mapping[str, tuple[Callable[[Any], bool], str]]


def well_typed(entry: Any, fields: Fields) -> bool:
    """Whether an entry is an object whose fields have the types that are listed."""
    return isinstance(entry, dict) and all(
        fits(entry.get(name)) for name, (fits, _) in fields.items()
    )


def check_types(path: str, what: str, entries: Sequence[Any], fields: Fields) -> Iterator[Finding]:
    """Findings about the entries that are not well typed; `what` is one of them, "image" say."""
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            found, expected = f"{what} {place} is {_shown(entry)}", "an object"
            yield Finding("error", f"malformed {what}", path, "", found, expected)
            continue
        for name, (fits, expected) in fields.items():
            if not fits(entry.get(name)):
                found = f"{what} {place}: {name} is {_shown(entry.get(name))}"
                yield Finding("error", f"malformed {what}", path, "", found, expected)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
