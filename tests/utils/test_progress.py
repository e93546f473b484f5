"""Progress bars are for terminals."""

import io
import sys

from detr_d2.utils import progress as progress_module
from detr_d2.utils.progress import BYTES, progress_bar


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


def test_bytes_have_prefixes_and_are_shown_only_where_it_takes_time(monkeypatch):
    def reading():
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_bar("reading", unit=BYTES) as progress:
            progress(250_000_000, 500_000_000)
        return terminal.getvalue()

    assert reading() == ""
    monkeypatch.setattr(progress_module, "BYTES_DELAY", 0)
    assert "reading: 0.00B" in reading()


def test_units_and_what_is_left_of_a_bar(monkeypatch):
    """Images are left standing; the bar of bytes has prefixes and is removed."""
    monkeypatch.setattr(progress_module, "BYTES_DELAY", 0)
    text = {}
    for unit in (None, BYTES):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_bar(**({"unit": unit} if unit else {})) as progress:
            progress(2_000_000, 4_000_000)
        text[unit] = terminal.getvalue()
    assert "images/s]\n" in text[None] and "2000000/4000000" in text[None]
    assert not text[None].startswith("\r:"), "nothing stands before it"
    assert "\n" not in text[BYTES] and "0.00B" in text[BYTES]
