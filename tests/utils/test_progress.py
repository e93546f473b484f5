"""Progress bars are for terminals."""

import io
import sys

from detr_d2.utils.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, quiet=False):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("site", quiet) as progress:
        progress(1, 3)
        progress(3, 3)
    return stream.getvalue()


def test_a_terminal_gets_a_bar_that_ends_full(monkeypatch):
    text = shown(monkeypatch, Terminal())
    assert "site: 100%" in text and "3/3" in text


def test_a_file_and_the_quiet_get_none(monkeypatch):
    assert shown(monkeypatch, io.StringIO()) == ""
    assert shown(monkeypatch, Terminal(), quiet=True) == ""
