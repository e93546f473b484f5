"""Writing files so that a reader never meets half of one."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


@contextmanager
def replacing_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty FOLDER.partial beside `folder`; at the end it takes the place of `folder`.

    After an error `folder` is as it was and FOLDER.partial is gone. What a killed run has left
    of FOLDER.partial is removed at the start.
    """
    # A link stays a link: what it points to is replaced.
    target = Path(folder).resolve()
    partial = target.with_name(f"{target.name}.partial")
    old = target.with_name(f".{target.name}.old")
    _tidy(target, partial, old)
    partial.mkdir(parents=True)
    try:
        yield partial
        change_places(partial, target, old)
    finally:
        _tidy(target, partial, old)


def _tidy(target: Path, partial: Path, old: Path) -> None:
    """Leave the target only."""
    restore(target, old)
    for left in (partial, old):
        remove_folder(left)


def change_places(partial: Path, target: Path, old: Path) -> None:
    """Put the folder `partial` in the place of `target`, which is `old` meanwhile and then gone."""
    remove_folder(old)
    if target.exists():
        os.rename(target, old)
    os.rename(partial, target)
    remove_folder(old)


def restore(target: Path, old: Path) -> None:
    """After a kill while folders changed places: the old one takes its place again."""
    if old.exists() and not target.exists():
        os.rename(old, target)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], content: Any, indent: int | None = None) -> None:
    """Write a JSON file atomically. NaN and infinity are refused: JSON does not know them."""
    write_text(path, json.dumps(content, indent=indent, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; a fault is told with file, line and column."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
