import json

import numpy as np
import pytest

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import find_png_faults, load_records
from detr_d2.data.coco_writer import describe_segments, write_id_png, write_panoptic_json
from detr_d2.ops.panoptic_ids import read_ids


def test_segments_are_measured_from_the_map():
    ids = np.array([[0, 7, 7, 0], [0, 7, 9, 9]])

    segments = describe_segments(ids, {7: 20, 9: 3, 11: 5}, crowd_ids=[9])

    assert segments == [
        {"id": 7, "category_id": 20, "iscrowd": 0, "area": 3, "bbox": [1, 0, 2, 2]},
        {"id": 9, "category_id": 3, "iscrowd": 1, "area": 2, "bbox": [2, 1, 2, 1]},
    ]


def test_a_map_of_void_has_no_segments():
    assert describe_segments(np.zeros((3, 2), np.int32), {}) == []


def test_ids_without_category_are_named():
    with pytest.raises(ValueError, match=r"\[8\].*known: \[7\]"):
        describe_segments(np.array([[7, 8]]), {7: 1})


def test_what_is_written_is_read_back(tmp_path, tiny_set):
    ids = tiny_set.id_maps["a"]
    table = CategoryTable(tiny_set.content["categories"])
    segments = describe_segments(ids, {5: 5, 300: 2, 70000: 9, 65536: 40}, [300])
    write_id_png(tmp_path / "new/png/x.png", ids)
    write_panoptic_json(
        tmp_path / "new/p.json",
        images=[{"id": 1, "file_name": "a.jpg", "height": 16, "width": 24}],
        annotations=[{"image_id": 1, "file_name": "x.png", "segments_info": segments}],
        categories=table,
    )

    folders = (str(tiny_set.root / "images"), str(tmp_path / "new/png"))
    (record,) = load_records(str(tmp_path / "new/p.json"), *folders, table)

    assert find_png_faults(record) == []
    assert np.array_equal(read_ids(tmp_path / "new/png/x.png"), ids)
    by_id = {s["id"]: s for s in record["segments_info"]}
    assert by_id[300]["iscrowd"] == 1
    assert by_id[70000]["bbox"] == [4, 8, 6, 5]
    # Nothing but the two files: no temporary one is left.
    assert sorted(p.name for p in (tmp_path / "new").rglob("*") if p.is_file()) == [
        "p.json",
        "x.png",
    ]


def test_crowds_are_numbers_and_nan_is_no_json(tmp_path):
    segments = describe_segments(np.array([[1, 2]]), {1: 5, 2: 5}, {2})
    assert [repr(s["iscrowd"]) for s in segments] == ["0", "1"]
    table = CategoryTable([{"id": 5, "name": "nut", "isthing": 1}])
    with pytest.raises(ValueError, match="Out of range"):
        write_panoptic_json(
            tmp_path / "p.json", images=[{"id": float("nan")}], annotations=[], categories=table
        )
    assert list(tmp_path.iterdir()) == []


def test_a_json_of_any_number_of_entries_is_one(tmp_path):
    table = CategoryTable([{"id": 5, "name": "nut", "isthing": 1, "color": [1, 2, 3]}])
    for count in range(3):
        entries = [{"id": number} for number in range(count)]
        write_panoptic_json(
            tmp_path / "p.json",
            images=iter(entries),
            annotations=iter(entries[:1]),
            categories=table,
            description='"found"',
        )
        assert json.loads((tmp_path / "p.json").read_text()) == {
            "info": {"description": '"found"'},
            "categories": table.to_json(),
            "images": entries,
            "annotations": entries[:1],
        }
