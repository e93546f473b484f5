"""Results of a long piece of work, a line of JSON each, on disk instead of in memory."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


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
        self._file.close()

    def write(self, result: Mapping[str, Any]) -> None:
        """Add a result; it is on its way to the disk when this returns."""
        self._file.seek(0, os.SEEK_END)
        place = self._file.tell()
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
