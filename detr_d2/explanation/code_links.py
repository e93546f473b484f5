"""Link to lines of the source: file, symbol, line numbers and text, read with `inspect`."""

import inspect
import textwrap
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]


def code_link(target: Any, containing: str = "") -> dict[str, Any]:
    """Find the lines that define a class, function or method.

    Args:
        target: what to find.
        containing: show only from the first line with this text to the end of its statement.

    Returns:
        id ("file::symbol", and "#text" of a part), file (with the package, of foreign code its
        name alone), symbol, start and end (line numbers from 1, both included), source.

    Raises:
        ValueError: the text is not in the source.
    """
    target = inspect.unwrap(target)
    lines, start = inspect.getsourcelines(target)
    path = Path(inspect.getsourcefile(target) or "").resolve()
    # Not by the checkout or the site-packages around it, which may hold foreign code, too.
    ours = path.is_relative_to(PACKAGE)
    file = path.relative_to(PACKAGE.parent).as_posix() if ours else path.name
    identity = f"{file}::{target.__qualname__}"
    if containing:
        found = [number for number, line in enumerate(lines) if containing in line]
        if not found:
            raise ValueError(f"{identity} has no line with {containing!r}")
        lines = _statement(lines[found[0] :])
        start += found[0]
        identity += f"#{containing}"
    source = textwrap.dedent("".join(lines)).rstrip()
    end = start + len(source.splitlines()) - 1
    return {
        "id": identity,
        "file": file,
        "symbol": target.__qualname__,
        "start": start,
        "end": end,
        "source": source,
    }


def _statement(lines: list[str]) -> list[str]:
    """The first lines up to where all brackets are closed."""
    depth = 0
    for number, line in enumerate(lines, start=1):
        depth += sum(line.count(c) for c in "([{") - sum(line.count(c) for c in ")]}")
        if depth <= 0:
            return lines[:number]
    return lines
