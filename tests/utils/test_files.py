import errno
import json
import math
import os
import subprocess

import pytest

from detr_d2.utils import files
from detr_d2.utils.files import naming, replacing, write_json, write_text


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
