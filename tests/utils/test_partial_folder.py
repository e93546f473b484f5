"""The working folder that takes the result's place only when it is whole."""

import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from detr_d2.utils.partial_folder import MARKER, PartialFolder, replacing_folder


def open_folder(target: Path) -> PartialFolder:
    return PartialFolder(target, "conversion.json", scratch=("done.jsonl", "*.part"))


def write_result(folder: PartialFolder, text: str) -> None:
    (folder.path / "panoptic" / "a.png").write_text(text)
    (folder.path / "conversion.json").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_result_appears_whole_and_without_scratch_files(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    folder = open_folder(target)
    folder.prepare("one")
    assert folder.path == tmp_path / "deep" / ".out.partial" / "new"
    assert names(folder.path) == ["fingerprint", "images", "panoptic"]
    write_result(folder, "new")
    for scratch in ("done.jsonl", "1.part", "2.part"):
        (folder.path / scratch).write_text("")
    assert not target.exists()
    folder.finish()
    assert names(target) == ["conversion.json", "images", "panoptic", "panoptic/a.png"]
    assert os.listdir(tmp_path / "deep") == ["out"]


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    first = open_folder(tmp_path / "out")
    first.prepare("one")
    (first.path / "done.jsonl").write_text("half")
    again = open_folder(tmp_path / "out")
    again.prepare("one")
    assert (again.path / "done.jsonl").read_text() == "half"


def test_another_fingerprint_starts_anew(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "out")
    folder.prepare("one")
    write_result(folder, "stale")
    folder.prepare("two")
    assert names(folder.path) == ["fingerprint", "images", "panoptic"]


def test_the_old_result_stays_whole_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for text in ("old", "new"):
        folder = open_folder(target)
        folder.prepare(text)
        write_result(folder, text)
        if text == "new":
            assert (target / "panoptic" / "a.png").read_text() == "old"
        folder.finish()
    assert (target / "panoptic" / "a.png").read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_the_old_result_comes_back_if_killed_between_the_two_renames(tmp_path: Path) -> None:
    target = tmp_path / "out"
    folder = open_folder(target)
    folder.prepare("one")
    write_result(folder, "old")
    folder.finish()
    folder.prepare("two")
    os.rename(target, folder.hidden / "old")
    open_folder(target).prepare("two")
    assert (target / "panoptic" / "a.png").read_text() == "old"
    assert not (folder.hidden / "old").exists()


def test_what_a_kill_after_the_change_of_places_has_left_is_cleared_away(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for name in ("out", ".out.partial/old"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "conversion.json").write_text(name)
    (tmp_path / ".out.partial" / MARKER).touch()
    folder = open_folder(target)
    folder.prepare("one")
    assert (target / "conversion.json").read_text() == "out"
    write_result(folder, "new")
    folder.finish()
    assert (target / "conversion.json").read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_of_something_else_is_rejected(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(
        FileExistsError, match=r"out is not empty and no conversion has.*no conversion\.json"
    ):
        open_folder(target).prepare("one")
    assert names(tmp_path) == ["out", "out/thesis.txt"]


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    folder = open_folder(tmp_path / "out")
    folder.prepare("one")
    write_result(folder, "new")
    folder.finish()
    assert (tmp_path / "out" / "conversion.json").read_text() == "new"


def test_discarding_removes_only_the_working_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    folder = open_folder(target)
    folder.discard()
    folder.prepare("one")
    write_result(folder, "whole")
    folder.finish()
    folder.prepare("two")
    folder.discard()
    assert os.listdir(tmp_path) == ["out"]


def listing(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "new" / "result"
    for name in ("a.txt", "b.txt"):
        with replacing_folder(folder) as partial:
            assert partial == tmp_path / "new" / ".result.partial" / "new"
            assert os.listdir(partial) == []
            (partial / name).write_text(name)
            assert name not in listing(folder)
        assert listing(tmp_path) == {f"new/result/{name}"}
    assert os.listdir(tmp_path / "new") == ["result"]


def test_after_an_error_the_older_folder_is_there_and_nothing_else(tmp_path):
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "a.txt").write_text("older")

    def fail():
        with replacing_folder(folder) as partial:
            (partial / "a.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (folder / "a.txt").read_text() == "older"
    assert os.listdir(tmp_path) == ["result"]


def test_when_the_folders_cannot_change_places_the_older_one_is_back(tmp_path, monkeypatch):
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "a.txt").write_text("older")
    rename = os.rename

    def reject(source, target):
        if str(source).endswith(".partial/new"):
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", reject)
    with pytest.raises(OSError, match="no"), replacing_folder(folder):
        pass
    assert listing(tmp_path) == {"result/a.txt"}


def test_what_a_killed_run_left_is_put_in_order(tmp_path):
    # Killed while the folders changed places: the older one stands aside, the new one is partial.
    for name in ("old", "new"):
        (tmp_path / ".result.partial" / name).mkdir(parents=True)
        (tmp_path / ".result.partial" / name / "a.txt").write_text(name)
    (tmp_path / ".result.partial" / MARKER).touch()

    def fail():
        with replacing_folder(tmp_path / "result") as partial:
            assert os.listdir(partial) == []
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert listing(tmp_path) == {"result/a.txt"}
    assert (tmp_path / "result" / "a.txt").read_text() == "old"


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing_folder(tmp_path / "link") as partial:
        (partial / "a.txt").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert listing(tmp_path / "real") == {"a.txt"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_of_ours_is_in_the_way(tmp_path, kind):
    hidden = tmp_path / ".out.partial"
    if kind == "file":
        hidden.write_text("mine")
    else:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / MARKER).touch()
        hidden.symlink_to(tmp_path / "mine")
    with pytest.raises(FileExistsError, match=r"\.out\.partial is in the way"):
        open_folder(tmp_path / "out").prepare("one")
    assert os.path.lexists(hidden) and not (tmp_path / "out").exists()


def test_files_of_a_hidden_folder_that_was_removed_are_no_result(tmp_path):
    folder = open_folder(tmp_path / "out")
    folder.prepare("one")
    shutil.rmtree(folder.hidden)
    (folder.path / "panoptic").mkdir(parents=True)
    write_result(folder, "the later half")
    with pytest.raises(FileNotFoundError, match=r"\.out\.partial was removed while .*out was in"):
        folder.finish()
    assert not (tmp_path / "out").exists()


def test_a_lock_of_a_process_that_has_just_finished_is_none(tmp_path, monkeypatch):
    """It removes the file between our opening and our locking it."""
    lock = fcntl.lockf

    def late(file, mode):
        os.remove(tmp_path / ".out.partial" / MARKER)
        lock(file, mode)

    monkeypatch.setattr(fcntl, "lockf", late)
    with pytest.raises(BlockingIOError, match=r"another process is writing .*out; wait for it"):
        open_folder(tmp_path / "out").prepare("one")


@pytest.mark.parametrize(
    ("number", "busy"), [("EACCES", True), ("EAGAIN", True), ("ENOLCK", False)]
)
def test_a_disk_without_locks_is_warned_of(tmp_path, monkeypatch, caplog, number, busy):
    def fail(file, mode):
        raise OSError(getattr(errno, number), "no lock")

    monkeypatch.setattr(fcntl, "lockf", fail)
    folder = open_folder(tmp_path / "out")
    if busy:
        with pytest.raises(BlockingIOError, match="another process"):
            folder.prepare("one")
        assert caplog.records == []
    else:
        folder.prepare("one")
        assert "cannot be locked" in caplog.text and str(tmp_path / "out") in caplog.text


def test_two_workspaces_of_one_process_one_after_the_other(tmp_path):
    """The lock's file is closed at the end."""
    folder = open_folder(tmp_path / "out")
    folder.prepare("one")
    lock = folder._lock
    folder.discard()
    assert lock.closed and os.listdir(tmp_path) == []


def test_a_target_that_is_a_file_is_rejected(tmp_path):
    (tmp_path / "out").write_text("mine")
    with (
        pytest.raises(FileExistsError, match="out is a file, not a folder"),
        replacing_folder(tmp_path / "out"),
    ):
        pass
    assert os.listdir(tmp_path) == ["out"]
