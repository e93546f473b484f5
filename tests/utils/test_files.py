import errno
import json
import math
import os
import subprocess

import pytest

from detr_d2.utils import files
from detr_d2.utils.files import (
    Journal,
    naming,
    printable,
    read_lines,
    reject_overwriting,
    replacing,
    write_json,
    write_text,
)


def test_the_file_appears_whole_in_a_folder_that_is_made(tmp_path):
    path = tmp_path / "new" / "a.png"
    with replacing(path) as temporary:
        assert temporary.endswith(".png")
        assert os.path.dirname(temporary) == str(path.parent)
        with open(temporary, "w") as file:
            file.write("content")
        assert not path.exists()
    assert path.read_text() == "content"
    assert os.listdir(path.parent) == ["a.png"]


def test_after_an_error_the_older_file_is_there_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "older")

    def fail():
        with replacing(path) as temporary:
            with open(temporary, "w") as file:
                file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_killed_processes_have_left_is_removed_and_nothing_else(tmp_path):
    """Names of temporary files: machine and process that write them, then the file's own."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = f".partial-{files._HOST}"
    stale = f"{here}-{ended.pid}-a.txt"
    # Of a process that runs, of no process of this system, of another machine; and a user's.
    others = {f"{here}-{os.getpid()}-b.txt", f"{here}-{10**20}-c.txt"}
    others |= {f".partial-00000000-{ended.pid}-d.txt", "e.txt"}
    for name in {stale, *others}:
        (tmp_path / name).touch()
    write_text(tmp_path / "new.txt", "")
    assert set(os.listdir(tmp_path)) == {"new.txt", *others}


def test_a_name_as_long_as_the_disk_allows_has_a_temporary_one(tmp_path):
    """120 letters of two bytes, of which the disk takes 255."""
    path = tmp_path / ("\u00e4" * 116 + ".png")
    write_text(path, "content")
    assert path.read_text() == "content"


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left"), "a.txt"),
        (OSError(errno.ENOENT, "No such file", "b.txt"), "b.txt"),
        (OSError("of a library"), None),
    ],
    ids=str,
)
def test_an_error_names_the_file_unless_it_names_one_itself(error, named):
    with pytest.raises(OSError, match=r"space|file|library") as raised, naming("a.txt"):
        raise error
    assert raised.value.filename == named


def test_json_is_read_back_and_nan_is_rejected(tmp_path):
    write_json(tmp_path / "a.json", {"PQ": 1.5, "box_AP": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"PQ": 1.5, "box_AP": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"PQ": math.nan})


def test_of_a_long_name_the_temporary_one_keeps_the_extension(tmp_path):
    """Image writers take the format from it; of one more letter the name is a long one."""
    for count, kept in ((116, True), (117, False)):
        name = "a" * count + ".png"
        with replacing(tmp_path / name) as temporary:
            assert temporary.endswith(".png") and temporary.endswith(name) == kept
            write_text(temporary, "content")


def test_processes_of_others_run_too(monkeypatch):
    def forbidden(pid, signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert files._is_running(1)


@pytest.mark.parametrize(
    ("inputs", "targets", "named"),
    [
        (["a.txt"], ["b.txt"], None),
        (["a.txt", "b.txt"], ["c.txt", "b.txt", "./a.txt"], r"\./a\.txt"),
        (["a.txt"], ["link.txt"], "link.txt"),
        (["link.txt"], ["a.txt"], "^a.txt"),
        ([], ["a.txt"], None),
    ],
)
def test_inputs_are_not_overwritten_by_any_name(tmp_path, monkeypatch, inputs, targets, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.txt").symlink_to("a.txt")
    if named is None:
        reject_overwriting(inputs, targets)
    else:
        with pytest.raises(ValueError, match=f"{named} is an input and would be overwritten"):
            reject_overwriting(inputs, targets)


def test_names_that_are_no_text_are_printable():
    assert printable("gr\u00fcn\udcff.png") == "gr\u00fcn\\udcff.png"


def test_lines_have_no_mark_and_another_encoding_is_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("gr\u00fcn\r\n\nb", encoding="utf-8-sig")
    assert read_lines(path) == ["gr\u00fcn", "", "b"]
    path.write_bytes("gr\u00fcn".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.txt: not a text in UTF-8 \("):
        read_lines(path)


def test_a_journal_gives_back_what_was_written(tmp_path):
    path = tmp_path / "done.jsonl"
    with Journal(path, "name") as journal:
        for lines, (name, value) in enumerate([("b", 1), ("a", [2, "\u00fc"]), ("b", 3)], start=1):
            journal.write({"name": name, "value": value})
            # On its way to the disk, and behind the others whatever is read meanwhile.
            assert len(path.read_text().splitlines()) == lines
            assert journal.read("b")["name"] == "b"
        assert list(journal) == ["b", "a"] and "a" in journal and "c" not in journal
        assert (journal.read("b")["value"], journal.read("a")["value"]) == (3, [2, "\u00fc"])
    with Journal(path, "name") as again:
        assert list(again) == ["b", "a"]
        assert (again.read("b")["value"], again.read("a")["value"]) == (3, [2, "\u00fc"])


@pytest.mark.parametrize("rest", ['{"key": "c", "n', '{"key": "c"}', "5 x\n", "\n"])
def test_what_a_kill_has_cut_short_is_dropped_from_a_journal(tmp_path, rest):
    path = tmp_path / "done.jsonl"
    whole = '{"key": "a"}\n{"key": "b"}\n'
    path.write_text(whole + rest)
    with Journal(path, "key") as journal:
        assert list(journal) == ["a", "b"]
        assert path.read_text() == whole
        journal.write({"key": "d"})
    assert path.read_text() == whole + '{"key": "d"}\n'
