"""Lists of JSON files, read element by element through windows of a few bytes."""

import json
import re

import pytest

from detr_d2.utils import json_lists
from detr_d2.utils.files import read_json
from detr_d2.utils.json_lists import read_json_lists, read_json_parts

CONTENT = {
    "info": {"year": 2014, "items": [1, 2]},
    "items": [{"name": "Straße \u2028", "n": [1.5, -2e-3]}, 12345, "a]b", None, {}, [], "\n"],
    "empty": [],
    "other": [1, 2],
    "last": 17,
}


@pytest.fixture(params=[1, 2**20])
def window(request, monkeypatch):
    """Bytes that are read at a time: fewer than any element, a few, more than the file."""
    monkeypatch.setattr(json_lists, "WINDOW", request.param)
    return request.param


def taken(path, *keys):
    """The content, the elements of the lists, and their places in the file."""
    elements, places = [], []

    def take(element, start, end):
        elements.append(element)
        places.extend((start, end))

    return read_json_lists(path, dict.fromkeys(keys, take)), elements, places


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_elements_and_their_places(tmp_path, window, ascii_only, indent, mark):
    path = tmp_path / "a.json"
    text = mark + json.dumps(CONTENT, ensure_ascii=ascii_only, indent=indent) + "\n"
    path.write_text(text, encoding="utf-8")
    content, elements, places = taken(path, "items", "empty", "absent")
    assert content == {**CONTENT, "items": CONTENT["items"][:1]}
    assert elements == CONTENT["items"]
    assert read_json_parts(path, places[4:8]) == ["a]b", None]
    assert read_json_parts(path, places) == elements


@pytest.mark.parametrize("content", [{}, [], [1, {"items": [2]}], 123456, "items", {"items": {}}])
def test_what_has_no_such_list_is_read_as_it_is(tmp_path, window, content):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    assert taken(path, "items") == (content, [], [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"items"',
        '{"items": [1, 2',
        '{"items": [1, 2}',
        '{"items": [1,]}',
        '{"items": [1 2]}',
        '{\n"items": [1,\n  {"a": tru}]}',
        '{"a": 1,}',
        '{"a" 1}',
        "{5: 1}",
        '{"a": 1} x',
        '{"items": ["\t"]}',
        '{"items": [\xff]}',
    ],
)
def test_errors_are_those_of_the_whole_file(tmp_path, window, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON") as whole:
        read_json(path)
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON") as parts:
        taken(path, "items")
    if "line" in str(whole.value):
        where = re.compile(r"line \d+ column \d+")
        assert where.findall(str(parts.value)) == where.findall(str(whole.value))


def test_bytes_that_are_no_utf_8_deep_lists_and_double_keys_are_rejected(tmp_path, window):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"items": ["\xff"]}')
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON \('utf-8' codec"):
        taken(path, "items")
    path.write_text('{"items": [' + "[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        taken(path, "items")
    path.write_text('{"items": [1], "items": [2]}')
    with pytest.raises(ValueError, match="Key 'items' occurs twice"):
        taken(path, "items")


def test_progress_reaches_the_end_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lists, "WINDOW", 8)
    path = tmp_path / "a.json"
    path.write_text('{"items": [1, 2, 3, 4]}')
    seen = []
    read_json_lists(path, {}, lambda done, total: seen.append((done, total)))
    assert seen == [(8, 23), (16, 23), (23, 23)]
