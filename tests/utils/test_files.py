import json
import math
import os

import pytest

from detr_d2.utils.files import replacing, write_json, write_text


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


def test_json_is_read_back_and_nan_is_rejected(tmp_path):
    write_json(tmp_path / "a.json", {"PQ": 1.5, "box_AP": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"PQ": 1.5, "box_AP": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"PQ": math.nan})
