"""The report of a loading, as a job prints it at its start: loaded, re-initialised, unused."""

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
    """Whether one tensor was loaded, and why not.

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
class LoadingReport:
    """The status of every tensor of a model and of a file."""

    path: str
    layout: str
    statuses: list[TensorStatus]

    def names(self, state: State) -> list[str]:
        """Names of the tensors in this state."""
        return [status.name for status in self.statuses if status.state == state]

    def table(self) -> str:
        """A text table, one line per part of the model and state, with counts and shapes."""
        groups: dict[tuple[State, str, str], list[TensorStatus]] = {}
        for status in sorted(self.statuses, key=lambda f: STATES.index(f.state)):
            groups.setdefault((status.state, _part(status.name), status.note), []).append(status)
        rows = [
            (state, part, len(group), sum(math.prod(f.shape) for f in group), _shapes(group), note)
            for (state, part, note), group in groups.items()
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


def _shapes(group: list[TensorStatus]) -> str:
    shapes = dict.fromkeys(_shape(status) for status in group)
    listed = ", ".join(list(shapes)[:LISTED])
    return f"{listed}, ..." if len(shapes) > LISTED else listed


def _shape(status: TensorStatus) -> str:
    here = "x".join(map(str, status.shape)) or "1"
    if status.shape_there is None:
        return here
    return f"{here} (there {'x'.join(map(str, status.shape_there)) or '1'})"
