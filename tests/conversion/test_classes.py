"""Lists of classes as users write them, which of them are things, and their ids in the result."""

import json

import pytest

from detr_d2.conversion.classes import (
    SourceClass,
    assign_ids,
    choose_things,
    parse_classes,
    parse_value,
)


def stuff(key, name, **more):
    return SourceClass(key, name, False, **more)


def thing(key, name, **more):
    return SourceClass(key, name, True, **more)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0=sky, 8 = car", [stuff(0, "sky"), stuff(8, "car")]),
        # 16 + 256 * 32 + 65536 * 48.
        ("#102030=sea,", [stuff(3153936, "sea")]),
        ("wheel loader , soil", [stuff("wheel loader", "wheel loader"), stuff("soil", "soil")]),
        ("1=a=b", [stuff(1, "a=b")]),
        # No such file: a name.
        ("a.txt", [stuff("a.txt", "a.txt")]),
    ],
)
def test_classes_as_text(text, expected):
    assert parse_classes(text) == expected
    assert [c.isthing for c in parse_classes(text, isthing=True)] == [True] * len(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1=a, 2=b, 1=c", r"classes '1=a, 2=b, 1=c': \['1'\] given twice"),
        ("b, a, b, a", r"\['a', 'b'\] given twice"),
        (" , ", "classes ' , ': none"),
        ("1= ", "class '1=': no name; write VALUE=NAME"),
        ("x=sky", "pixel value 'x': must be a whole number from 0 or a colour #rrggbb"),
    ],
)
def test_wrong_classes_as_text(text, message):
    with pytest.raises(ValueError, match=message):
        parse_classes(text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("70000", 70000), ("#0000ff", 255 * 65536)])
def test_values(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["-1", "#1234", "#1234567", "#ggggggg", "1.5", "102030#", ""])
def test_what_is_no_value(text):
    with pytest.raises(ValueError, match=f"pixel value '{text}': must be"):
        parse_value(text)


def test_a_text_file_counts_its_lines_from_0(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("__ignore__\n _background_\n\nwheel loader \nsoil\n")
    # Lines without a name do not count; the background counts and is no class.
    assert parse_classes(str(path)) == [stuff(1, "wheel loader"), stuff(2, "soil")]
    assert all(c.isthing for c in parse_classes(str(path), isthing=True))
    path.write_text("soil\n__ignore__\n__background__\nsky\n")
    assert parse_classes(str(path)) == [stuff(0, "soil"), stuff(3, "sky")]


@pytest.mark.parametrize("suffix", [".yaml", ".YML"])
def test_names_of_yolo(tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    path.write_text("path: ../x\nnames: [crane, 7]\n")
    assert parse_classes(str(path), isthing=True) == [thing(0, "crane"), thing(1, "7")]
    path.write_text("names:\n  3: crane\n  1: soil\n")
    assert parse_classes(str(path)) == [stuff(3, "crane"), stuff(1, "soil")]
    for wrong in ("nc: 2", "names: crane", "names: {a: crane}", "[crane]"):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=f"data{suffix}: no names of classes"):
            parse_classes(str(path))


def test_entries_of_a_json(tmp_path):
    """The key is the value, else the id, else the name; the id is one to keep."""
    entries = [
        {"name": "crane", "id": 4, "isthing": 1, "color": [1, 2, 3], "supercategory": "machine"},
        {"name": "soil", "id": 9, "value": 2, "isthing": 0, "supercategory": None},
        {"name": "sky", "value": "#000100", "color": []},
        {"name": "sea", "value": "blue"},
        {"name": "fog"},
    ]
    path = tmp_path / "classes.JSON"
    expected = [
        thing(4, "crane", wanted_id=4, color=(1, 2, 3), supercategory="machine"),
        stuff(2, "soil", wanted_id=9),
        thing(256, "sky"),
        thing("blue", "sea"),
        thing("fog", "fog"),
    ]
    for content in (entries, {"categories": entries}):
        path.write_text(json.dumps(content))
        assert parse_classes(str(path), isthing=True) == expected
    assert [c.isthing for c in parse_classes(str(path))] == [True] + [False] * 4
    for wrong in ({"id": 3}, {"name": 3}, "fog"):
        path.write_text(json.dumps([entries[0], wrong]))
        with pytest.raises(ValueError, match=r"classes\.JSON: class .* has no name"):
            parse_classes(str(path))


NUT, SKY, LEAF = thing(1, "nut", supercategory="tree"), stuff(2, "sky"), stuff(3, "leaf")


@pytest.mark.parametrize(
    ("things", "rest", "expected"),
    [
        (None, None, ["nut"]),
        (["sky"], None, ["sky"]),
        ([], None, []),
        (None, ["sky"], ["nut", "leaf"]),
        (None, [], ["nut", "sky", "leaf"]),
        # In neither list: as it was.
        (["leaf"], ["sky"], ["nut", "leaf"]),
        (["leaf"], ["nut"], ["leaf"]),
        ([], [], ["nut"]),
    ],
)
def test_which_classes_are_things(things, rest, expected):
    found = choose_things([NUT, SKY, LEAF], things, rest)
    assert [c.name for c in found if c.isthing] == expected
    assert [(c.key, c.name, c.supercategory) for c in found] == [
        (1, "nut", "tree"), (2, "sky", ""), (3, "leaf", "")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("things", "rest", "message"),
    [
        (["tree"], None, r"\['tree'\] are no classes; the classes are \['leaf', 'nut', 'sky'\]"),
        (None, ["x", "b"], r"\['b', 'x'\] are no classes"),
        (["nut", "sky"], ["sky", "nut"], r"\['nut', 'sky'\] are named as both"),
    ],
)
def test_wrong_lists_of_things_and_stuff(things, rest, message):
    with pytest.raises(ValueError, match=f"things and stuff: {message}"):
        choose_things([NUT, SKY, LEAF], things, rest)


def test_ids_are_kept_where_they_are_free():
    classes = [
        thing("a", "nut", wanted_id=7),
        stuff("b", "sky", color=(9, 8, 7), supercategory="air"),
        # Wanted a second time, and ids that no file may have: 0 is void's in some programs.
        stuff("c", "sea", wanted_id=7),
        stuff("d", "fog", wanted_id=0),
        stuff("e", "ice", wanted_id=20),
        stuff("f", "nut", wanted_id=3),
    ]
    entries, ids = assign_ids(classes)
    # New ones come above all that are wanted later.
    assert ids == {"a": 7, "b": 21, "c": 22, "d": 23, "e": 20, "f": 24}
    assert [(e["id"], e["name"], e["isthing"]) for e in entries] == [
        (7, "nut", 1), (21, "sky", 0), (22, "sea", 0), (23, "fog", 0), (20, "ice", 0),
        (24, "nut_2", 0),
    ]  # fmt: skip
    assert entries[1] == {
        "id": 21, "name": "sky", "isthing": 0, "supercategory": "air", "color": [9, 8, 7]
    }  # fmt: skip
    assert "color" not in entries[0]


def test_without_wanted_ids_they_count_from_1():
    assert assign_ids([stuff(0, "sky"), thing(255, "nut")])[1] == {0: 1, 255: 2}
    assert assign_ids([stuff(0, "sky", wanted_id=1)])[1] == {0: 1}
    assert assign_ids([stuff(0, "sky", wanted_id=0)])[1] == {0: 1}


def test_another_list_keeps_its_entries_and_comes_first():
    taken = [{"id": 90, "name": "nut", "isthing": 1, "x": 5}, {"id": 4, "name": "nut_2"}]
    classes = [stuff(1, "sky", wanted_id=90), thing(2, "nut"), stuff(3, "sea", wanted_id=5)]
    entries, ids = assign_ids(classes, taken)
    assert entries[:2] == taken and entries[0] is not taken[0]
    assert [(e["id"], e["name"]) for e in entries[2:]] == [(91, "sky"), (92, "nut_3"), (5, "sea")]
    assert ids == {1: 91, 2: 92, 3: 5}
