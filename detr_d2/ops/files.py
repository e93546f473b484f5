"""Writing files so that a reader never meets half of one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a temporary name beside `path`; what was written there takes `path`'s place at the end.

    The folder is made if needed. After an error `path` is as it was and the temporary file is
    gone. The temporary name keeps the extension, from which image writers take the format.
    """
    folder, name = os.path.split(os.fspath(path))
    os.makedirs(folder or ".", exist_ok=True)
    temporary = os.path.join(folder, f".{os.getpid()}-{name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) in one stroke."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], content: Any, indent: int | None = None) -> None:
    """Write a JSON file in one stroke. NaN and infinity are refused: JSON does not know them."""
    write_text(path, json.dumps(content, indent=indent, allow_nan=False) + "\n")
