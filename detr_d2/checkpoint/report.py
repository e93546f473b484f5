"""The table that a job prints at its start: loaded, re-initialised, unused."""

import math
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

State = Literal["loaded", "re-initialised", "unused"]
STATES: tuple[State, ...] = ("loaded", "re-initialised", "unused")
# Number of different shapes that a line lists.
LISTED = 4


@dataclass(frozen=True)
class TensorStatus:
    """What became of one tensor.

    Attributes:
        shape: in the model, or in the file if it is unused.
        note: why, or what was done to it.
        shape_there: in the file, where it differs.
    """

    state: State
    name: str
    shape: tuple[int, ...]
    note: str = ""
    shape_there: tuple[int, ...] | None = None


@dataclass
class Report:
    """What became of all tensors of a model and of a file."""

    path: str
    layout: str
    fates: list[TensorStatus]

    def names(self, state: State) -> list[str]:
        """Names of the tensors with this fate."""
        return [fate.name for fate in self.fates if fate.state == state]

    def table(self) -> str:
        """A text table, one line per part of the model and fate, with counts and shapes."""
        groups: dict[tuple[State, str, str], list[TensorStatus]] = {}
        for fate in sorted(self.fates, key=lambda f: STATES.index(f.state)):
            groups.setdefault((fate.state, _part(fate.name), fate.note), []).append(fate)
        rows = [
            (state, part, len(fates), sum(math.prod(f.shape) for f in fates), _shapes(fates), note)
            for (state, part, note), fates in groups.items()
        ]
        headers = ("", "part", "tensors", "numbers", "shapes", "note")
        text = tabulate(rows, headers, "simple_outline", maxcolwidths=[None] * 4 + [36, 36])
        counts = ", ".join(f"{len(self.names(state))} {state}" for state in STATES)
        return f"{self.path} ({self.layout}): {counts}\n{text}"


def _part(name: str) -> str:
    """`transformer.encoder`, `box_head.class_embed`, `backbone`."""
    parts = name.split(".")
    depth = 2 if parts[0] in ("transformer", "box_head") else 1
    return ".".join(parts[:depth])


def _shapes(fates: list[TensorStatus]) -> str:
    shapes = dict.fromkeys(_shape(fate) for fate in fates)
    listed = ", ".join(list(shapes)[:LISTED])
    return f"{listed}, ..." if len(shapes) > LISTED else listed


def _shape(fate: TensorStatus) -> str:
    here = "x".join(map(str, fate.shape)) or "1"
    if fate.shape_there is None:
        return here
    return f"{here} (there {'x'.join(map(str, fate.shape_there)) or '1'})"
