"""Read large JSON files: the long lists of an object element by element, and elements again.

A parsed list of annotations takes five times the memory of its text, and the text has to be in
memory as well. Here a window of the file moves over it, and every element is parsed by Python's
own parser, gives its place in the file, and may be dropped.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, NoReturn

from detr_d2.utils.progress import Progress

# Bytes of the window; an element that is longer makes it grow.
WINDOW = 2**20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Takes an element, and the bytes of the file from which and up to which it reaches.
Take = Callable[[Any, int, int], None]

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def read_json_lists(
    path: str | os.PathLike[str], take: Mapping[str, Take], progress: Progress | None = None
) -> Any:
    """Read a JSON file in UTF-8 as `read_json` does, but some of its lists element by element.

    Args:
        path: the file.
        take: called with the elements of those lists of the file's object that have these keys.
        progress: called with (bytes read, bytes of the file).

    Returns:
        The content, in which those lists have their first element only.

    Raises:
        ValueError: not valid JSON, with file, line and column; nested too deeply; or a key of the
            object occurs twice.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        window = _Window(file, path, progress)
        content = _read_object(window, take) if window.peek() == "{" else window.value()[0]
        if window.peek():
            window.fail("Extra data")
    return content


def read_json_parts(path: str | os.PathLike[str], places: Sequence[int]) -> list[Any]:
    """Read elements again whose places (start, end, start, end, ...) were taken before."""
    with open(path, "rb") as file:
        found = []
        for start, end in zip(places[::2], places[1::2], strict=True):
            file.seek(start)
            found.append(json.loads(file.read(end - start)))
    return found


def _read_object(window: "_Window", take: Mapping[str, Take]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    window.skip("{")
    if window.peek() == "}":
        window.skip("}")
        return content
    while True:
        if window.peek() != '"':
            window.fail("Expecting property name enclosed in double quotes")
        key = window.value()[0]
        if key in content:
            window.fail(f"Key {key!r} occurs twice")
        window.skip(":")
        is_taken = key in take and window.peek() == "["
        content[key] = _take_list(window, take[key]) if is_taken else window.value()[0]
        if window.skip(",}") == "}":
            return content


def _take_list(window: "_Window", take: Take) -> list[Any]:
    first: list[Any] = []
    window.skip("[")
    if window.peek() == "]":
        window.skip("]")
        return first
    while True:
        element, start, end = window.value()
        take(element, start, end)
        if not first:
            first.append(element)
        if window.skip(",]") == "]":
            return first


class _Window:
    """The part of a file from where its reader is.

    Every byte is a character of `text`, so that places in it are places in the file; what is not
    ASCII is decoded when a value is complete.
    """

    def __init__(
        self, file: BinaryIO, path: str | os.PathLike[str], progress: Progress | None
    ) -> None:
        self.file, self.path, self.progress = file, path, progress
        self.size = os.fstat(file.fileno()).st_size
        # The window's place in the file, and the reader's place in it.
        self.start = self.place = 0
        # The lines that end before the window, and where the one begins in which it begins.
        self.lines = self.line_start = 0
        self.text = ""
        self.read_on()
        if self.text.startswith(BYTE_ORDER_MARK.decode("latin-1")):
            self.place = len(BYTE_ORDER_MARK)

    def read_on(self) -> bool:
        """Move the window to the reader and make it reach further; False at the end."""
        left = self.text[self.place :]
        more = self.file.read(max(WINDOW, len(left), len(BYTE_ORDER_MARK)))
        if not more:
            return False
        lines = self.text.count("\n", 0, self.place)
        if lines:
            self.lines += lines
            self.line_start = self.start + self.text.rindex("\n", 0, self.place) + 1
        self.start += self.place
        self.text, self.place = left + more.decode("latin-1"), 0
        if self.progress is not None:
            self.progress(self.file.tell(), self.size)
        return True

    def peek(self) -> str:
        """The next character that is no space, "" at the end."""
        while True:
            match = _SPACE.match(self.text, self.place)
            assert match is not None
            self.place = match.end()
            if self.place < len(self.text) or not self.read_on():
                return self.text[self.place : self.place + 1]

    def skip(self, allowed: str) -> str:
        """Skip one of some characters, and return it."""
        found = self.peek()
        if not found or found not in allowed:
            self.fail(f"Expecting {' or '.join(map(repr, allowed))}")
        self.place += 1
        return found

    def value(self) -> tuple[Any, int, int]:
        """Read a value; its first byte in the file, and the one behind its last."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.place)
            except json.JSONDecodeError as error:
                if not self.read_on():
                    self.fail(error.msg, error.pos)
            except RecursionError as error:
                raise ValueError(f"{self.path}: lists or objects are nested too deeply") from error
            else:
                # A number may go on behind the window.
                if end < len(self.text) or not self.read_on():
                    break
        text = self.text[self.place : end]
        if not text.isascii():
            try:
                value = json.loads(text.encode("latin-1").decode("utf-8"))
            except UnicodeDecodeError as error:
                raise ValueError(f"{self.path}: not valid JSON ({error})") from error
        first, self.place = self.start + self.place, end
        return value, first, self.start + end

    def fail(self, message: str, place: int | None = None) -> NoReturn:
        """Raise ValueError with the line and column of a place in the window, or of the reader."""
        place = self.place if place is None else place
        line = self.lines + self.text.count("\n", 0, place) + 1
        end = self.text.rfind("\n", 0, place)
        column = place - end if end >= 0 else self.start + place - self.line_start + 1
        raise ValueError(
            f"{self.path}: not valid JSON ({message}: line {line} column {column} "
            f"(byte {self.start + place}))"
        )
