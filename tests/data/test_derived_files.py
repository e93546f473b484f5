"""What is derived from a panoptic set for other models: files, records and metadata."""

import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from PIL import Image

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import load_records
from detr_d2.data.detectron2_records import derive, load_as, metadata_as, semantic_path

COLORS = {"nut": [1, 2, 3], "leaf": [4, 5, 6], "sky": [7, 8, 9], "sea": [10, 11, 12]}


def table(**ids):
    """Nut and leaf are things."""
    return CategoryTable(
        {"id": number, "name": name, "isthing": name in ("nut", "leaf"), "color": COLORS[name]}
        for name, number in ids.items()
    )


@pytest.mark.parametrize(
    ("ids", "nothing"),
    [
        ({"sea": 7, "nut": 2, "sky": 5, "leaf": 9}, 0),
        # An id of 0 is a class, and so is the highest; the one above is free.
        ({"sea": 7, "nut": 0, "sky": 5, "leaf": 9}, 10),
        ({"sea": 9, "nut": 2, "sky": 0, "leaf": 7}, 10),
    ],
)
def test_label_0_of_separated_stuff_has_an_id_of_its_own(ids, nothing):
    found = metadata_as("separated", "cache", table(**ids))
    first, second = sorted(("sky", "sea"), key=ids.get)
    stuff = {nothing: 0, ids[first]: 1, ids[second]: 2}
    assert found["stuff_dataset_id_to_contiguous_id"] == stuff
    assert found["stuff_classes"] == ["things", first, second]
    assert found["stuff_colors"][1:] == [COLORS[first], COLORS[second]]


IDS = {"sea": 7, "nut": 2, "sky": 5, "leaf": 1}
THINGS = {
    "thing_classes": ["leaf", "nut"],
    "thing_colors": [COLORS["leaf"], COLORS["nut"]],
    "thing_dataset_id_to_contiguous_id": {1: 0, 2: 1},
    "json_file": "cache/instances.json",
}
EVERYTHING = {
    "stuff_classes": ["leaf", "nut", "sky", "sea"],
    "stuff_colors": [COLORS[name] for name in ("leaf", "nut", "sky", "sea")],
    "stuff_dataset_id_to_contiguous_id": {1: 0, 2: 1, 5: 2, 7: 3},
}


@pytest.mark.parametrize(
    ("kind", "evaluator", "expected"),
    [
        ("instances", "coco", THINGS),
        ("semantic", "sem_seg", EVERYTHING),
        ("with_sem_seg", "coco_panoptic_seg", THINGS | EVERYTHING),
    ],
)
def test_metadata_of_every_kind(kind, evaluator, expected):
    common = {"evaluator_type": evaluator, "ignore_label": 255}
    assert metadata_as(kind, "cache", table(**IDS)) == expected | common


def test_separated_metadata_have_things_and_evaluator():
    found = metadata_as("separated", "cache", table(**IDS))
    assert found.items() >= THINGS.items()
    assert (found["evaluator_type"], found["ignore_label"]) == ("coco_panoptic_seg", 255)


@pytest.fixture
def records(tiny_set):
    """Records, table and the arguments of `load_as`; contiguous: pipe 0, brick 1, sky 2, soil 3."""
    classes = CategoryTable(tiny_set.content["categories"])
    places = {key: str(path) for key, path in tiny_set.paths().items()}
    return load_records(**places, categories=classes), classes, {**places, "table": classes}


def test_files_that_are_derived(records, tmp_path):
    told = []
    derive(*records[:2], tmp_path / "cache", lambda *counts: told.append(counts))
    assert told == [(1, 3), (2, 3), (3, 3)]
    content = json.loads((tmp_path / "cache/instances.json").read_text())
    assert content["info"] == {}
    assert content["categories"] == [{"id": 2, "name": "pipe"}, {"id": 9, "name": "brick"}]
    assert content["images"] == [
        {"id": 7, "file_name": "a.jpg", "height": 16, "width": 24},
        {"id": 8, "file_name": "b.png", "height": 20, "width": 14},
        {"id": 9, "file_name": "empty.jpg", "height": 10, "width": 12},
    ]
    found = content["annotations"]
    fields = ("id", "image_id", "category_id", "iscrowd", "area", "bbox")
    assert [tuple(a[key] for key in fields) for a in found] == [
        (1, 7, 2, 1, 36, [14, 9, 6, 6]),
        (2, 7, 9, 0, 30, [4, 8, 6, 5]),
        (3, 8, 2, 0, 15, [6, 3, 1, 15]),
    ]
    # Crowds are run-length codes, as COCO's.
    assert [type(a["segmentation"]) for a in found] == [dict, list, list]
    for kind, values in (("stuff", [0, 1, 2, 255]), ("semantic", [0, 1, 2, 3, 255])):
        with Image.open(tmp_path / f"cache/{kind}/a.png") as image:
            assert image.mode == "L" and image.size == (24, 16)
            assert np.unique(np.asarray(image)).tolist() == values


def test_a_segment_that_the_png_lacks_and_an_id_that_the_json_lacks(records, tmp_path):
    first = records[0][0]
    sky, *_ = first["segments_info"]
    # Without a brick, and with a segment that is nowhere.
    first["segments_info"] = [sky, {**sky, "id": 4}]
    derive([first], records[1], tmp_path)
    labels = np.asarray(Image.open(tmp_path / "semantic/a.png"))
    assert (labels[0, 0], labels[9, 5], labels[0, 23]) == (2, 255, 255)


@pytest.mark.parametrize(("count", "fits"), [(254, True), (255, False), (300, False)])
def test_masks_hold_254_classes(tmp_path, count, fits):
    many = CategoryTable({"id": i, "name": f"c{i}", "isthing": 0} for i in range(count))
    if fits:
        derive([], many, tmp_path)
        assert (tmp_path / "instances.json").is_file()
        return
    with pytest.raises(ValueError, match=f"{count} classes; semantic masks hold 254 at most"):
        derive([], many, tmp_path)
    assert not (tmp_path / "instances.json").exists()


def test_masks_are_named_by_the_bare_name():
    record = {"file_name": "/set/deep/a.b.jpg"}
    assert semantic_path(Path("cache"), "stuff", record) == Path("cache/stuff/a.b.png")


PANOPTIC = {"file_name", "image_id", "height", "width", "pan_seg_file_name", "segments_info"}


@pytest.mark.parametrize(
    ("kind", "fields", "folder"),
    [
        ("with_sem_seg", PANOPTIC | {"sem_seg_file_name"}, "semantic"),
        ("separated", PANOPTIC | {"sem_seg_file_name", "annotations"}, "stuff"),
        ("instances", {"file_name", "image_id", "height", "width", "annotations"}, None),
        ("semantic", {"file_name", "image_id", "height", "width", "sem_seg_file_name"}, "semantic"),
    ],
)
def test_records_of_every_kind(records, tmp_path, kind, fields, folder):
    derive(*records[:2], tmp_path)
    first, second, empty = load_as(kind, str(tmp_path), **records[2])
    assert all(set(record) == fields for record in (first, second, empty))
    if folder:
        assert second["sem_seg_file_name"] == str(tmp_path / folder / "b.png")
    if "annotations" in fields:
        boxes = [(a["category_id"], a["bbox"], a["iscrowd"]) for a in first["annotations"]]
        assert boxes == [(0, [14, 9, 6, 6], 1), (1, [4, 8, 6, 5], 0)]
        assert {a["bbox_mode"] for a in first["annotations"]} == {BoxMode.XYWH_ABS}
        assert len(second["annotations"]) == 1 and empty["annotations"] == []
    if "segments_info" in fields:
        # Sky, pipe, brick, soil: counted together, or things and stuff apart, stuff from 1.
        expected = {"with_sem_seg": [2, 0, 1, 3], "separated": [1, 0, 1, 2]}[kind]
        assert [s["category_id"] for s in first["segments_info"]] == expected


@pytest.mark.parametrize("kind", ["with_sem_seg", "separated", "instances", "semantic"])
def test_places_are_metadata_of_kinds_that_evaluate_panoptics(tiny_set, register, tmp_path, kind):
    name = register(**tiny_set.paths(), records=kind, cache=tmp_path / "cache")
    metadata = MetadataCatalog.get(name).as_dict()
    panoptic = kind in ("with_sem_seg", "separated")
    places = {"panoptic_json", "panoptic_root", "image_root", "label_divisor"}
    assert set(metadata) & places == (places if panoptic else set())
    if panoptic:
        assert metadata["label_divisor"] == 1000
        assert metadata["panoptic_root"] == str(tiny_set.root / "panoptic")
    assert len(DatasetCatalog.get(name)) == 3
    assert any((tmp_path / "cache").iterdir())


def test_instances_of_ones_own_come_before_the_derived(tiny_set, register, tmp_path):
    own = tmp_path / "own boxes.json"
    arguments = {"records": "separated", "cache": tmp_path / "cache", "instances_json": own}
    assert MetadataCatalog.get(register(**tiny_set.paths(), **arguments)).json_file == str(own)
