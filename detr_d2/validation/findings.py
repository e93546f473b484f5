"""The findings of a check, and one page that lists them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

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
