"""What the repaired copy has of entries that contradict each other."""

import json

import numpy as np
import pytest

from detr_d2.data.coco_writer import write_id_png
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.validation.check import SetFiles
from detr_d2.validation.repair import renumber_segments, repair_sets


@pytest.fixture
def repaired(tiny_set, tmp_path):
    """Write and repair the set; the copy's JSON, and why records were skipped, by name."""

    def _repaired():
        tiny_set.write()
        paths = {key: str(value) for key, value in tiny_set.paths().items()}
        files = SetFiles(paths["panoptic_json"], paths["image_root"], paths["panoptic_root"])
        skipped = repair_sets([files], tmp_path / "fixed")
        content = json.loads((tmp_path / "fixed/panoptic.json").read_text())
        return content, {item.name: item.reason for item in skipped}

    return _repaired


def test_a_sound_set_stays_what_it_was(tiny_set, repaired, tmp_path):
    content, skipped = repaired()
    assert skipped == {} and content["categories"] != []
    assert "repaired copy of panoptic.json" in content["info"]["description"]
    images = {image["file_name"]: image for image in content["images"]}
    assert images == {image["file_name"]: image for image in tiny_set.content["images"]}
    for new, old in zip(content["annotations"], tiny_set.content["annotations"], strict=True):
        assert (new["image_id"], new["file_name"]) == (old["image_id"], old["file_name"])
        ids = read_ids(tmp_path / "fixed/panoptic" / new["file_name"])
        before = tiny_set.id_maps[new["file_name"].removesuffix(".png")]
        pairs = zip(new["segments_info"], old["segments_info"], strict=True)
        for number, (after, was) in enumerate(pairs, start=1):
            assert after == {**was, "id": number}
            assert np.array_equal(ids == number, before == was["id"])


def test_of_entries_with_one_id_the_first_counts(tiny_set, repaired):
    categories = tiny_set.content["categories"]
    tiny_set.content["categories"] = [*categories, {**categories[0], "name": "mud", "isthing": 1}]
    tiny_set.content["images"].append({"id": 7, "file_name": "empty.jpg"})
    content, skipped = repaired()
    assert skipped == {}
    assert {c["id"]: c["name"] for c in content["categories"]} == {
        2: "pipe",
        9: "brick",
        5: "sky",
        40: "soil",
    }
    assert [image["file_name"] for image in content["images"] if image["id"] == 7] == ["a.jpg"]


def test_sizes_are_those_of_the_image(tiny_set, repaired):
    for image in tiny_set.content["images"]:
        image |= {"height": 1, "width": 2, "license": 3}
    content, _ = repaired()
    assert {i["file_name"]: (i["height"], i["width"], i["license"]) for i in content["images"]} == {
        "a.jpg": (16, 24, 3),
        "deep/er/b.png": (20, 14, 3),
        "empty.jpg": (10, 12, 3),
    }


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("image_id", 8, "an earlier annotation has its image or its PNG"),
        ("file_name", "b.png", "(20, 14) pixels, its image has (10, 12)"),
        ("file_name", "gone.png", "not there"),
        ("segments_info", {}, "malformed, or no image entry of its own"),
    ],
)
def test_records_that_cannot_be_kept_are_skipped_with_the_reason(
    tiny_set, repaired, tmp_path, key, value, reason
):
    """The last of the three annotations, "empty", gets the image or the PNG of "b"."""
    last = tiny_set.content["annotations"][2]
    if key == "image_id":
        (tmp_path / "panoptic/empty.png").write_bytes((tmp_path / "panoptic/b.png").read_bytes())
    last[key] = value
    content, skipped = repaired()
    assert reason in skipped[last["file_name"]] and len(skipped) == 1
    assert [a["file_name"] for a in content["annotations"]] == ["a.png", "b.png"]


def test_two_images_never_share_a_png(tiny_set, repaired, tmp_path):
    images = tmp_path / "images"
    (images / "empty.jpg").write_bytes((images / "deep/er/b.png").read_bytes())
    tiny_set.content["annotations"][2]["file_name"] = "b.png"
    _, skipped = repaired()
    assert skipped == {"b.png": "b.png: an earlier annotation has its image or its PNG"}


@pytest.mark.parametrize(("rows", "columns"), [(10, 13), (11, 12), (12, 10)])
def test_pngs_of_another_height_or_width_are_skipped(tiny_set, repaired, tmp_path, rows, columns):
    write_id_png(tmp_path / "panoptic/empty.png", np.zeros((rows, columns), np.int32))
    _, skipped = repaired()
    assert skipped == {"empty.png": f"({rows}, {columns}) pixels, its image has (10, 12)"}


def test_the_folder_may_be_there_if_it_is_empty(tiny_set, repaired, tmp_path):
    (tmp_path / "fixed").mkdir()
    repaired()
    with pytest.raises(FileExistsError, match="fixed is not empty; choose another folder"):
        repaired()


THINGS = {2: True, 40: False}


def listed(number, category, area=1, **more):
    return {"id": number, "category_id": category, "area": area, **more}


@pytest.mark.parametrize(
    ("segments", "ids", "expected"),
    [
        ([listed(7, 2), listed(9, 40)], [[1, 2, 2, 0]], [(1, 2, 0), (2, 40, 0)]),
        # Stuff is one segment, and no crowd; things stay apart and may be crowds.
        ([listed(9, 40, iscrowd=1), listed(7, 40)], [[1, 1, 1, 0]], [(1, 40, 0)]),
        ([listed(9, 2, iscrowd=1), listed(7, 2)], [[2, 1, 1, 0]], [(1, 2, 1), (2, 2, 0)]),
        # Of two entries of one id the first counts; unknown categories are void.
        ([listed(9, 40), listed(9, 2)], [[0, 1, 1, 0]], [(1, 40, 0)]),
        ([listed(9, 3), listed(7, 2)], [[1, 0, 0, 0]], [(1, 2, 0)]),
        ([listed("x", 2), listed(7, 2)], [[1, 0, 0, 0]], [(1, 2, 0)]),
        # Id 0 has one pixel; that it is void is more likely where the area says otherwise.
        ([listed(0, 2, area=1)], [[0, 0, 0, 1]], [(1, 2, 0)]),
        ([listed(0, 2, area=0)], [[0, 0, 0, 0]], []),
        ([listed(0, 2, area=2)], [[0, 0, 0, 0]], []),
        ([], [[0, 0, 0, 0]], []),
    ],
)
def test_segments_are_numbered_from_one(segments, ids, expected):
    found, info = renumber_segments(np.array([[7, 9, 9, 0]]), segments, THINGS)
    assert found.tolist() == ids
    assert [(s["id"], s["category_id"], s["iscrowd"]) for s in info] == expected
