import json

import numpy as np
import pytest

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import (
    FAULTS_SHOWN,
    find_png_faults,
    load_records,
    raise_faults,
    read_panoptic_json,
    spot_check,
)
from detr_d2.ops.panoptic_ids import SegmentFault, compare_segments


def load(tiny_set):
    table = CategoryTable(tiny_set.content["categories"])
    folders = (str(tiny_set.root / "images"), str(tiny_set.root / "panoptic"))
    return load_records(str(tiny_set.json_path), *folders, table)


def faults_of(tiny_set):
    tiny_set.write()
    with pytest.raises(ValueError, match=r"panoptic\.json") as caught:
        load(tiny_set)
    return str(caught.value)


def test_records_have_the_contract_form(tiny_set):
    records = load(tiny_set)

    assert [r["image_id"] for r in records] == [7, 8, 9]
    assert [(r["height"], r["width"]) for r in records] == [(16, 24), (20, 14), (10, 12)]
    assert records[1]["file_name"] == str(tiny_set.root / "images/deep/er/b.png")
    assert records[1]["pan_seg_file_name"] == str(tiny_set.root / "panoptic/b.png")
    assert records[2]["segments_info"] == []
    # Contiguous: pipe 0, brick 1, sky 2, soil 3.
    assert [s["category_id"] for s in records[0]["segments_info"]] == [2, 0, 1, 3]
    assert [s["iscrowd"] for s in records[0]["segments_info"]] == [0, 1, 0, 0]
    assert records[1]["segments_info"][1] == {
        "id": 256,
        "category_id": 0,
        "iscrowd": 0,
        "area": 15,
        "bbox": [6, 3, 1, 15],
        "isthing": True,
    }


def test_isthing_is_a_python_bool(tiny_set):
    # Detectron2's evaluator compares with `is True`; 1 would be scored as stuff.
    flags = [s["isthing"] for s in load(tiny_set)[0]["segments_info"]]

    assert [flag is True for flag in flags] == [False, True, True, False]
    assert all(isinstance(flag, bool) for flag in flags)


def test_absent_files_are_all_named(tiny_set):
    (tiny_set.root / "images/a.jpg").unlink()
    (tiny_set.root / "panoptic/b.png").unlink()

    text = faults_of(tiny_set)

    assert "images/a.jpg: image not found" in text
    assert "panoptic/b.png: PNG not found" in text


def test_wrong_ids_are_all_named(tiny_set):
    first, second, third = tiny_set.content["annotations"]
    first["segments_info"][0]["category_id"] = 6
    first["segments_info"][1]["id"] = 0
    second["segments_info"][0]["id"] = second["segments_info"][1]["id"]
    third["image_id"] = 99

    text = faults_of(tiny_set)

    assert "a.png: segment 5: category_id 6, allowed: [2, 5, 9, 40]" in text
    assert "a.png: segment id 0" in text
    assert "b.png: a segment id occurs more than once" in text
    assert "empty.png: image_id 99" in text
    assert "4 fault(s)" in text


@pytest.mark.parametrize("side", ["height", "width"])
@pytest.mark.parametrize("value", [0, None, 12.5])
def test_wrong_sizes_are_named(tiny_set, side, value):
    tiny_set.content["images"][0][side] = value

    assert f"empty.png: {side} {value!r}" in faults_of(tiny_set)


def test_what_the_evaluation_would_miss_is_named(tiny_set):
    del tiny_set.content["annotations"][0]["segments_info"][0]["area"]
    del tiny_set.content["annotations"][1]["segments_info"]

    text = faults_of(tiny_set)

    assert "a.png: segment 5: no area" in text
    assert "b.png: no list segments_info" in text


def test_equal_base_names_in_two_folders_are_rejected(tiny_set):
    # The evaluator would write both predictions to b.png.
    tiny_set.content["images"][2]["file_name"] = "b.jpg"
    (tiny_set.root / "images/a.jpg").rename(tiny_set.root / "images/b.jpg")

    assert "base names must be unique" in faults_of(tiny_set)


def test_two_images_of_one_id_are_rejected(tiny_set):
    tiny_set.content["images"].append(dict(tiny_set.content["images"][0]))

    assert "two images have the same id" in faults_of(tiny_set)


def test_other_categories_than_registered_are_rejected(tiny_set):
    table = CategoryTable([{**c, "isthing": 1} for c in tiny_set.content["categories"]])

    with pytest.raises(ValueError, match="differ from those given"):
        load_records(str(tiny_set.json_path), "images", "panoptic", table)


def test_a_set_without_annotations_is_rejected(tiny_set):
    tiny_set.content["annotations"] = []

    assert "no annotations" in faults_of(tiny_set)


def test_long_lists_of_faults_are_cut():
    with pytest.raises(ValueError, match="30 fault") as caught:
        raise_faults("x.json", [f"fault number {i}" for i in range(30)])

    assert str(caught.value).count("fault number") == FAULTS_SHOWN
    assert "and 10 more" in str(caught.value)
    with pytest.raises(ValueError, match="2 fault") as caught:
        raise_faults("x.json", ["one", "two"])
    assert str(caught.value).endswith("one\n  two")
    raise_faults("x.json", [])


@pytest.mark.parametrize("content", [[], {"images": [], "annotations": []}])
def test_a_json_of_another_form_is_rejected(tmp_path, content):
    (tmp_path / "x.json").write_text(json.dumps(content))

    with pytest.raises(ValueError, match="categories"):
        read_panoptic_json(tmp_path / "x.json")


def test_png_faults(tiny_set):
    first, second, _ = load(tiny_set)
    assert find_png_faults(first) == []
    assert find_png_faults(second) == []

    assert "size 24x16, the JSON says 24x17" in find_png_faults({**first, "height": 17})[0]
    assert "size 24x16, the JSON says 23x16" in find_png_faults({**first, "width": 23})[0]
    *others, brick_last = [s for s in first["segments_info"] if s["id"] != 70000] + [
        {**first["segments_info"][2], "id": 70001}
    ]
    text = " | ".join(find_png_faults({**first, "segments_info": [*others, brick_last]}))
    assert "segment 70001: id not in the PNG" in text
    assert "segment 70000: id not in the JSON" in text
    wrong_area = [{**s, "area": s["area"] + 1} for s in second["segments_info"]]
    assert "segment 256: wrong area (JSON 16, PNG 15)" in " ".join(
        find_png_faults({**second, "segments_info": wrong_area})
    )


def test_segments_are_compared_with_pixels():
    ids = np.array([[0, 7, 7, 0], [0, 7, 9, 9]])
    segments = [
        {"id": 7, "area": 3, "bbox": [1, 0, 2, 2]},
        {"id": 9, "area": 3, "bbox": [2, 1, 1, 1]},
        {"id": 4, "area": 5},
    ]
    assert compare_segments(ids, segments[:1]) == [
        SegmentFault("id not in the JSON", 9, None, "2 pixels")
    ]
    assert compare_segments(ids, segments) == [
        SegmentFault("wrong area", 9, 3, 2),
        SegmentFault("wrong box", 9, [2, 1, 1, 1], [2, 1, 2, 1]),
        SegmentFault("id not in the PNG", 4, "5 pixels", None),
    ]
    assert [fault.kind for fault in compare_segments(ids, segments[:2], boxes=False)] == [
        "wrong area"
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c["annotations"][0].pop("file_name"), "annotation of image 7: no file_name"),
        (lambda c: c["annotations"][0].update(file_name=3), "annotation of image 7: no file_name"),
        (lambda c: c["images"][2].pop("file_name"), "a.png: image 7 has no file_name"),
        (lambda c: c["images"][2].update(file_name="../a.jpg"), "'../a.jpg' leads out of"),
        (lambda c: c["annotations"][0].update(file_name="/a.png"), "'/a.png' leads out of"),
        (lambda c: c["annotations"][0]["segments_info"][0].pop("iscrowd"), "segment 5: no iscrowd"),
        (lambda c: c["annotations"][0]["segments_info"][0].pop("id"), "segment None: no id"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(id="5"), "segment id '5', must"),
    ],
)
def test_entries_that_cannot_be_used_are_named(tiny_set, change, named):
    change(tiny_set.content)

    text = faults_of(tiny_set)

    assert named in text
    assert "1 fault(s)" in text


def test_all_faults_of_one_image_and_of_the_set_come_together(tiny_set):
    tiny_set.content["images"][2]["height"] = 0
    del tiny_set.content["annotations"][0]["segments_info"]
    (tiny_set.root / "panoptic/b.png").unlink()

    text = faults_of(tiny_set)

    assert "a.png: height 0" in text and "a.png: no list segments_info" in text
    assert "b.png: PNG not found" in text


def test_a_folder_that_is_absent_is_told_by_its_files(tiny_set):
    (tiny_set.root / "images").rename(tiny_set.root / "pictures")

    assert faults_of(tiny_set).count("image not found") == 3


def test_a_list_of_as_many_faults_as_are_shown_is_whole():
    with pytest.raises(ValueError, match="20 fault") as caught:
        raise_faults("x.json", ["fault"] * FAULTS_SHOWN)

    assert "more" not in str(caught.value)


@pytest.mark.parametrize("content", [7, "text", ["images"]])
def test_a_json_that_is_no_object_lacks_all_lists(tmp_path, content):
    (tmp_path / "x.json").write_text(json.dumps(content))

    message = r"x\.json: no list images, annotations, categories; COCO-panoptic has"
    with pytest.raises(ValueError, match=message):
        read_panoptic_json(tmp_path / "x.json")


def test_boxes_are_not_compared_when_pngs_are_checked(tiny_set):
    # Other programs measure boxes otherwise; nothing here trusts those of the JSON.
    tiny_set.content["annotations"][1]["segments_info"][0]["bbox"] = [0, 0, 1, 1]
    tiny_set.write()

    assert find_png_faults(load(tiny_set)[1]) == []


@pytest.mark.parametrize(
    ("count", "looked_at"), [(1, [0]), (2, [0, 1]), (5, [0, 1, 3, 4]), (10, [0, 3, 6, 9])]
)
def test_which_records_are_looked_at(tiny_set, count, looked_at):
    first = load(tiny_set)[0]
    records = [{**first, "height": 100 + number} for number in range(count)]

    found = [fault.rsplit("x", 1)[-1] for fault in spot_check(records)]

    assert found == [str(100 + number) for number in looked_at]
