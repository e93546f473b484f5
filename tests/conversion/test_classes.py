"""Classes as people write them, and the ids that they get."""

import json

import pytest

from detr_d2.conversion.classes import SourceClass, assign_ids, choose_things, parse_classes

CRANE = SourceClass("c", "crane", True, wanted_id=7, color=(1, 2, 3), supercategory="machine")


def test_a_list_with_everything_that_a_class_may_say(tmp_path):
    entries = [
        {"name": "crane", "id": 7, "isthing": 1, "color": [1, 2, 3], "supercategory": "machine"},
        {"name": "sky", "id": 4, "value": "#0a0b0c"},
        {"name": "mud", "isthing": 0, "supercategory": None},
    ]
    for content in (entries, {"categories": entries}):
        path = tmp_path / "Classes.JSON"
        path.write_text(json.dumps(content))
        assert parse_classes(str(path), isthing=True) == [
            SourceClass(7, "crane", True, 7, (1, 2, 3), "machine"),
            SourceClass(0x0A + 256 * 0x0B + 65536 * 0x0C, "sky", True, 4),
            SourceClass("mud", "mud", False),
        ]


def test_lists_of_names_count_lines_or_numbers(tmp_path):
    (tmp_path / "a.txt").write_text("__ignore__\n_background_\n\n  crane \nsky\n")
    assert [(c.key, c.name) for c in parse_classes(str(tmp_path / "a.txt"))] == [
        (1, "crane"),
        (2, "sky"),
    ]
    for number, names in enumerate(("[crane, sky]", "{0: crane, 1: sky}")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(f"names: {names}\n")
        found = parse_classes(str(path), isthing=True)
        assert found == [SourceClass(0, "crane", True), SourceClass(1, "sky", True)]
    (tmp_path / "x.yml").write_text("nc: 3\n")
    with pytest.raises(ValueError, match=r"x\.yml: no names of classes, as a list or by number"):
        parse_classes(str(tmp_path / "x.yml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1=sky, 1=mud", r"\['1'\] given twice"),
        (" , ", "none"),
        ("1=", "class '1=': no name; write VALUE=NAME"),
        ("-1=sky", "pixel value '-1': must be a whole number from 0 or a colour #rrggbb"),
        ("#12=sky", "pixel value '#12'"),
        ("#12345g=sky", "pixel value '#12345g'"),
    ],
)
def test_what_is_no_class(text, message):
    with pytest.raises(ValueError, match=message):
        parse_classes(text)


def test_things_and_stuff_are_named():
    classes = [SourceClass(n, n, n == "nut") for n in ("nut", "bolt", "sky")]

    def things(**given):
        return [c.name for c in choose_things(classes, **given) if c.isthing]

    assert things() == ["nut"]
    assert things(things=["bolt"]) == ["bolt"]
    assert things(stuff=["sky"]) == ["nut", "bolt"]
    assert things(things=["bolt"], stuff=["sky"]) == ["nut", "bolt"], "nut stays what it was"
    assert things(things=[]) == [] and things(stuff=[]) == ["nut", "bolt", "sky"]
    with pytest.raises(ValueError, match=r"\['nut'\] are named as both; the classes are \['bolt'"):
        things(things=["nut"], stuff=["nut"])
    with pytest.raises(ValueError, match=r"\['mud', 'nail'\] are no classes"):
        things(things=["nail"], stuff=["mud"])


def test_a_class_keeps_its_id_and_all_that_is_known_of_it():
    entries, ids = assign_ids([SourceClass("n", "nut", False), CRANE])
    # Above those that others want.
    assert entries == [
        {"id": 8, "name": "nut", "isthing": 0, "supercategory": ""},
        {"id": 7, "name": "crane", "isthing": 1, "supercategory": "machine", "color": [1, 2, 3]},
    ]
    assert ids == {"n": 8, "c": 7}


def test_what_clashes_with_another_list_gets_a_new_id_and_a_number():
    taken = [{"id": 7, "name": "person"}, {"id": 90, "name": "crane"}, {"id": 3, "name": "nut_2"}]
    classes = [CRANE, SourceClass("n", "nut", True, 12), SourceClass("m", "nut", True, 13)]
    entries, ids = assign_ids(classes, taken)
    assert entries[:3] == taken
    assert [(e["id"], e["name"]) for e in entries[3:]] == [
        (91, "crane_2"),
        (12, "nut"),
        (92, "nut_3"),
    ]
    assert ids == {"c": 91, "n": 12, "m": 92}


def test_an_id_below_one_is_none():
    """0 is no pixel's class in the result."""
    entries, _ = assign_ids([SourceClass(0, "ground", False, 0), SourceClass(1, "box", True, 1)])
    assert [entry["id"] for entry in entries] == [2, 1]
