"""Result folders: the user's own stay, two writers never meet, kills leave nothing behind."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detr_d2.utils import files
from detr_d2.utils.files import replacing, write_text
from detr_d2.utils.partial_folder import MARKER, PartialFolder, replacing_folder

REPORT = "conversion.json"


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_result(target: Path, text: str) -> None:
    folder = PartialFolder(target, REPORT)
    folder.prepare(text)
    (folder.path / REPORT).write_text(text)
    folder.finish()


def replace_once(target: Path, text: str) -> None:
    with replacing_folder(target) as folder:
        (folder / REPORT).write_text(text)


@pytest.mark.parametrize("make", [make_result, replace_once])
def test_neighbours_with_the_names_of_working_folders_stay(tmp_path, make):
    mine = {}
    for name in ("out.old", "out.partial", ".out.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text(name)
        mine[f"{name}/thesis.txt"] = name
    for text in ("first", "second"):
        make(tmp_path / "out", text)
    assert contents(tmp_path) == {**mine, f"out/{REPORT}": "second"}


@pytest.mark.parametrize("make", [make_result, replace_once])
def test_a_foreign_folder_of_the_hidden_name_stops_the_work_and_stays(tmp_path, make):
    (tmp_path / ".out.partial/new").mkdir(parents=True)
    (tmp_path / ".out.partial/new/thesis.txt").write_text("years")
    with pytest.raises(FileExistsError, match=r"\.out\.partial is in the way"):
        make(tmp_path / "out", "new")
    assert contents(tmp_path) == {".out.partial/new/thesis.txt": "years"}


def test_discarding_never_removes_a_foreign_folder(tmp_path):
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial/thesis.txt").write_text("years")
    PartialFolder(tmp_path / "out", REPORT).discard()
    assert contents(tmp_path) == {".out.partial/thesis.txt": "years"}


def test_a_kill_before_the_marker_does_not_block_the_next_run(tmp_path):
    (tmp_path / ".out.partial").mkdir()
    make_result(tmp_path / "out", "new")
    assert contents(tmp_path) == {f"out/{REPORT}": "new"}


def hold(target, ready):
    """Work on a folder until killed."""
    folder = PartialFolder(target, REPORT)
    folder.prepare("theirs")
    ready.set()
    time.sleep(60)


def test_a_second_process_cannot_work_on_the_same_folder(tmp_path):
    target = tmp_path / "out"
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    other = fork.Process(target=hold, args=(target, ready))
    other.start()
    assert ready.wait(60)
    for make in (make_result, replace_once):
        with pytest.raises(BlockingIOError, match=f"another process is writing {target}"):
            make(target, "mine")
    assert contents(target.with_name(".out.partial"))["new/fingerprint"] == "theirs"
    other.kill()
    other.join()
    # The lock goes with the process; its half result has another fingerprint and goes too.
    make_result(target, "mine")
    assert contents(tmp_path) == {f"out/{REPORT}": "mine"}


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk/real")
    for text in ("first", "second"):
        make_result(tmp_path / "out", text)
    assert (tmp_path / "out").is_symlink()
    assert contents(tmp_path / "disk") == {f"real/{REPORT}": "second"}


def test_a_circle_of_links_is_named_before_the_work(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "out")
    with pytest.raises((ValueError, OSError), match="out"):
        make_result(tmp_path / "out", "new")


def test_a_file_in_the_place_of_the_folder_is_named_before_the_work(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileExistsError, match="out is a file, not a folder"):
        make_result(tmp_path / "out", "new")
    assert contents(tmp_path) == {"out": "mine"}


def test_when_the_change_of_places_fails_the_old_result_is_back_at_once(tmp_path, monkeypatch):
    make_result(tmp_path / "out", "old")
    rename = os.rename

    def fail(source, target):
        if Path(source).name == "new":
            raise OSError("disk gone")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="disk gone"):
        make_result(tmp_path / "out", "new")
    assert (tmp_path / "out" / REPORT).read_text() == "old"


@pytest.fixture
def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def test_temporary_files_of_killed_processes_are_removed(tmp_path, dead_process):
    with replacing(tmp_path / "model.pth") as temporary:
        own = Path(temporary).name
        Path(temporary).write_text("half")
    stale = own.replace(f"-{os.getpid()}-", f"-{dead_process}-")
    running = own.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    others = own.replace("partial-", "partial-other")
    kept = (running, others, ".hidden", f".{dead_process}-mine.txt")
    for name in (stale, *kept):
        (tmp_path / name).write_text(name)
    files._remove_stale.cache_clear()
    write_text(tmp_path / "a.txt", "new")
    assert sorted(os.listdir(tmp_path)) == sorted(["a.txt", "model.pth", *kept])


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    name = "ü" * 125 + ".png"
    with replacing(tmp_path / name) as temporary:
        assert temporary.endswith(".png")
        Path(temporary).write_text("content")
    assert contents(tmp_path) == {name: "content"}


def test_the_marker_does_not_reach_the_result(tmp_path):
    make_result(tmp_path / "out", "new")
    assert MARKER not in os.listdir(tmp_path / "out")
