"""The table that a job prints at its start: loaded, re-initialised, unused."""

import math
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

State = Literal["loaded", "re-initialised", "unused"]
STATES: tuple[State, ...] = ("loaded", "re-initialised", "unused")
# Parts with more tensors than this are summed up in one line.
LISTED = 4


@dataclass(frozen=True)
class Fate:
    """What became of one tensor; `shape` is that of the model, or of the file if unused."""

    state: State
    name: str
    shape: tuple[int, ...]
    note: str = ""


@dataclass
class Report:
    """What became of all tensors of a model and of a file."""

    path: str
    layout: str
    fates: list[Fate]

    def names(self, state: State) -> list[str]:
        """Names of the tensors with this fate."""
        return [fate.name for fate in self.fates if fate.state == state]

    def table(self) -> str:
        """A text table, one line per part of the model and fate, with counts and shapes."""
        groups: dict[tuple[State, str, str], list[Fate]] = {}
        for fate in sorted(self.fates, key=lambda f: STATES.index(f.state)):
            groups.setdefault((fate.state, _part(fate.name), fate.note), []).append(fate)
        rows = [
            (state, part, len(fates), sum(math.prod(f.shape) for f in fates), _shapes(fates), note)
            for (state, part, note), fates in groups.items()
        ]
        headers = ("", "part", "tensors", "numbers", "shapes", "note")
        text = tabulate(rows, headers, "simple_outline", maxcolwidths=[None] * 4 + [40, 40])
        return f"{self.path} ({self.layout})\n{text}"


def _part(name: str) -> str:
    """`transformer.encoder`, `box_head.class_embed`, `backbone`."""
    parts = name.split(".")
    depth = 2 if parts[0] in ("transformer", "box_head") else 1
    return ".".join(parts[:depth])


def _shapes(fates: list[Fate]) -> str:
    shapes = dict.fromkeys(" x ".join(map(str, fate.shape)) for fate in fates)
    listed = ", ".join(list(shapes)[:LISTED])
    return f"{listed}, ..." if len(shapes) > LISTED else listed
