"""Malformed COCO-panoptic sets: the check finds them, loading rejects them, nothing crashes."""

import copy
import json

import check_dataset
import pytest
from PIL import Image

from detr_d2.evaluation.panoptic import PanopticEvaluator
from detr_d2.validation.check import Checker, SetFiles
from detr_d2.validation.repair import repair_sets

NOT_VALUES = [None, True, -3, 2.5, "", "x", [], [1], {}, {"a": 1}, 1e400]


def files_of(tiny_set) -> SetFiles:
    paths = {key: str(value) for key, value in tiny_set.paths().items()}
    return SetFiles(paths["panoptic_json"], paths["image_root"], paths["panoptic_root"])


def errors(tiny_set) -> list[str]:
    return [f.kind for f in Checker(files_of(tiny_set)).run() if f.severity == "error"]


def load(tiny_set) -> None:
    """Read the set as training does."""
    from detr_d2.data.categories import CategoryTable
    from detr_d2.data.coco_panoptic import load_records

    files = files_of(tiny_set)
    table = CategoryTable(tiny_set.content["categories"], "categories")
    load_records(files.panoptic_json, files.image_root, files.panoptic_root, table)


def change(content, *path_and_value):
    """Set the entry at a path of keys and places."""
    *path, last, value = path_and_value
    for step in path:
        content = content[step]
    content[last] = value


REJECTED = [
    ("categories", 4, "id", -3),
    ("categories", 4, "id", True),
    ("categories", 0, "color", [300, 0, 0]),
    ("categories", 0, "color", "red"),
    ("categories", 0, "name", ""),
    ("categories", 0, "name", 5),
    ("categories", 0, "isthing", 2),
    ("categories", 1, "id", 40),
    ("annotations", 0, "segments_info", 0, "id", -3),
    ("annotations", 0, "segments_info", 0, "category_id", 77),
    ("annotations", 0, "segments_info", {}),
    ("annotations", 0, "file_name", "../panoptic/a.png"),
    ("annotations", 0, "file_name", "gone.png"),
    ("images", 0, "file_name", "../images/empty.jpg"),
    ("images", 0, "height", "10"),
    ("images", 0, "width", 0),
    ("annotations", []),
    ("categories", []),
]


@pytest.mark.parametrize("fault", REJECTED, ids=lambda fault: "-".join(map(str, fault)))
def test_what_loading_rejects_the_check_finds(tiny_set, fault):
    # Entries of the shared list of categories must not change for other tests.
    tiny_set.content = copy.deepcopy(tiny_set.content)
    # A class that no segment has: its faults show by themselves.
    tiny_set.content["categories"].append({"id": 99, "name": "spare", "isthing": 1})
    tiny_set.write()
    load(tiny_set)
    assert errors(tiny_set) == []
    change(tiny_set.content, *fault)
    tiny_set.write()
    with pytest.raises(ValueError, match=r".+"):
        load(tiny_set)
    assert errors(tiny_set)


FIELDS = [
    ("images",),
    ("annotations",),
    ("categories",),
    ("images", 0),
    ("annotations", 0),
    ("categories", 0),
    *[("images", 0, key) for key in ("id", "file_name", "height", "width")],
    *[("annotations", 0, key) for key in ("image_id", "file_name", "segments_info")],
    *[("categories", 0, key) for key in ("id", "name", "isthing", "color", "supercategory")],
    ("annotations", 0, "segments_info", 0),
    *[
        ("annotations", 0, "segments_info", 0, key)
        for key in ("id", "category_id", "area", "bbox", "iscrowd")
    ],
]


@pytest.mark.parametrize("place", FIELDS, ids=lambda place: "-".join(map(str, place)))
def test_no_value_of_any_field_crashes_the_check_or_the_repair(tiny_set, tmp_path, place, capsys):
    original = copy.deepcopy(tiny_set.content)
    root = tiny_set.root
    arguments = [str(root / "images"), str(root / "panoptic"), str(tiny_set.json_path)]
    for number, value in enumerate(NOT_VALUES):
        tiny_set.content = copy.deepcopy(original)
        change(tiny_set.content, *place, value)
        tiny_set.write()
        fix = ["--fix", str(tmp_path / f"fixed{number}")]
        assert check_dataset.main(["--set", *arguments, *fix]) in (0, 1, 2), value
        if place[-1] not in ("supercategory", "color", "iscrowd", "bbox", "isthing", "id", "name"):
            assert errors(tiny_set), value
    capsys.readouterr()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"images": ' * 100_000, "nested too deeply"),
        ("", "not valid JSON"),
        ("\x00", "not valid JSON"),
        ("5", "no list images"),
        ('{"images": 5, "annotations": {}}', "no list images"),
        ("1" * 5000, "not valid JSON"),
    ],
    ids=["lists", "objects", "empty", "nul", "number", "types", "digits"],
)
def test_broken_json_is_a_finding(tiny_set, text, message):
    tiny_set.json_path.write_text(text)
    (finding,) = Checker(files_of(tiny_set)).run()
    assert message in str(finding)
    with pytest.raises(ValueError, match=message):
        repair_sets([files_of(tiny_set)], tiny_set.root / "fixed")


def test_a_byte_order_mark_is_accepted(tiny_set, register, tmp_path):
    text = json.dumps(tiny_set.content)
    tiny_set.json_path.write_text(text, encoding="utf-8-sig")
    assert tiny_set.json_path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert errors(tiny_set) == []
    load(tiny_set)
    PanopticEvaluator(register(**tiny_set.paths()), str(tmp_path)).reset()


def test_another_encoding_is_named(tiny_set):
    tiny_set.json_path.write_text(json.dumps(tiny_set.content), encoding="utf-16")
    (finding,) = Checker(files_of(tiny_set)).run()
    assert "utf-8" in str(finding)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_bomb_is_a_finding(tiny_set, monkeypatch):
    # Small files of a set whose limit is lower still.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert set(errors(tiny_set)) == {"unreadable image", "unreadable PNG"}


def test_names_that_no_terminal_can_show_are_printed(tiny_set, capsys):
    tiny_set.content["images"][0]["file_name"] = "\ud800.jpg"
    tiny_set.write()
    root = tiny_set.root
    arguments = [str(root / "images"), str(root / "panoptic"), str(tiny_set.json_path)]
    assert check_dataset.main(["--set", *arguments]) == 1
    assert "missing image" in capsys.readouterr().out
