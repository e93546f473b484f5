import json
import math
import os

import pytest

from detr_d2.utils.files import replacing, replacing_folder, write_json, write_text


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


def test_json_is_read_back_and_nan_is_refused(tmp_path):
    write_json(tmp_path / "a.json", {"PQ": 1.5, "box_AP": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"PQ": 1.5, "box_AP": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"PQ": math.nan})


def listing(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "new" / "result"
    for name in ("a.txt", "b.txt"):
        with replacing_folder(folder) as partial:
            assert partial == tmp_path / "new" / "result.partial"
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

    def refuse(source, target):
        if str(source).endswith(".partial"):
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="no"), replacing_folder(folder):
        pass
    assert listing(tmp_path) == {"result/a.txt"}


def test_what_a_killed_run_left_is_put_in_order(tmp_path):
    # Killed while the folders changed places: the older one stands aside, the new one is partial.
    for name in (".result.old", "result.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)

    def fail():
        with replacing_folder(tmp_path / "result") as partial:
            assert os.listdir(partial) == []
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert listing(tmp_path) == {"result/a.txt"}
    assert (tmp_path / "result" / "a.txt").read_text() == ".result.old"


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing_folder(tmp_path / "link") as partial:
        (partial / "a.txt").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert listing(tmp_path / "real") == {"a.txt"}
