"""Files that a reader never meets half written, and names that stay below their folder."""

import functools
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

# Temporary files of this machine; those of others on a shared disk are not ours to judge.
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_TEMPORARY = re.compile(rf"\.partial-{_HOST}-(\d+)-.+")
# The last bytes of a name are kept, since image writers take the format from the extension.
LONGEST_NAME = 120


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a temporary name beside `path`; what was written there takes `path`'s place at the end.

    The folder is made if needed. After an error `path` is as it was and the temporary file is
    gone; after a kill it is removed when a later process first writes to the folder.
    """
    folder, name = os.path.split(os.fspath(path))
    os.makedirs(folder or ".", exist_ok=True)
    _remove_stale(os.path.abspath(folder))
    if len(os.fsencode(name)) > LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = digest + os.path.splitext(name)[1]
    temporary = os.path.join(folder, f".partial-{_HOST}-{os.getpid()}-{name}")
    try:
        with naming(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the file's name into errors of writing, which do not say on which file a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


@functools.cache
def _remove_stale(folder: str) -> None:
    """Remove what killed processes of this machine have left in a folder, once a process."""
    for name in os.listdir(folder):
        match = _TEMPORARY.fullmatch(name)
        if match and not _is_running(int(match[1])):
            with suppress(OSError):
                os.remove(os.path.join(folder, name))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def path_below(folder: str | os.PathLike[str], name: str) -> str:
    """Path of a file by its "/" name below a folder.

    Links in the folder are followed: they are the user's own.

    Raises:
        ValueError: the name is empty, absolute, or leads out of the folder.
    """
    parts = PurePosixPath(name).parts
    absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive
    if not parts or absolute or ".." in parts or "\0" in name:
        raise ValueError(f"{name!r} leads out of {os.fspath(folder)}; names must lie below it")
    return os.path.join(os.fspath(folder), *parts)


def reject_overwriting(
    inputs: Iterable[str | os.PathLike[str]], targets: Iterable[str | os.PathLike[str]]
) -> None:
    """Raise ValueError if a file that will be written is one that is read."""
    read = {os.path.realpath(path) for path in inputs}
    same = sorted({os.fspath(target) for target in targets if os.path.realpath(target) in read})
    if same:
        raise ValueError(f"{same[0]} is an input and would be overwritten; choose another output")


def printable(name: str) -> str:
    """Write the bytes of a file name that are not UTF-8 as escapes; other names stay."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], content: Any, indent: int | None = None) -> None:
    """Write a JSON file atomically. NaN and infinity are rejected: JSON does not know them."""
    write_text(path, json.dumps(content, indent=indent, allow_nan=False) + "\n")


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Read the lines of a text file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: another encoding; names the file.
        OSError: the file cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text in UTF-8 ({error})") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: not valid JSON, with file, line and column; or nested too deeply.
        OSError: the file cannot be read.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return json.load(file)
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    except RecursionError as error:
        raise ValueError(f"{path}: lists or objects are nested too deeply") from error


class Journal:
    """A file to which results are added and from which any of them can be read back.

    A line that an interruption has cut short is dropped when the file is opened again. Only the
    place of every result is held in memory.

    Args:
        path: the file; its folder must be there.
        key: which field names a result.
    """

    def __init__(self, path: str | os.PathLike[str], key: str) -> None:
        self.path = Path(path)
        self.key = key
        self._places: dict[str, int] = {}
        self._file = open(self.path, "a+b")  # noqa: SIM115  closed by close()
        self._find_places()

    def _find_places(self) -> None:
        self._file.seek(0)
        end = 0
        for line in self._file:
            try:
                result = json.loads(line)
                if not line.endswith(b"\n"):
                    break
            except ValueError:
                break
            self._places[result[self.key]] = end
            end += len(line)
        self._file.truncate(end)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def close(self) -> None:
        """Close the file."""
        with naming(self.path):
            self._file.close()

    def write(self, result: Mapping[str, Any]) -> None:
        """Add a result; it is on its way to the disk when this returns."""
        self._file.seek(0, os.SEEK_END)
        place = self._file.tell()
        with naming(self.path):
            self._file.write(json.dumps(result).encode() + b"\n")
            self._file.flush()
        self._places[result[self.key]] = place

    def read(self, name: str) -> dict[str, Any]:
        """Read one result back."""
        self._file.seek(self._places[name])
        return json.loads(self._file.readline())

    def __iter__(self) -> Iterator[str]:
        """Names of the results."""
        return iter(list(self._places))
