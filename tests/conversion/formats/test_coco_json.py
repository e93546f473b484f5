"""COCO JSON as other programs write it."""

import json
import os
import pickle
import tracemalloc

import pytest
from converted_sets import save_image

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.utils import json_lists

SIZE = (12, 16)


def test_bare_polygons_and_image_ids_as_text(tmp_path, converted):
    """As older versions of VIA export it."""
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_image(tmp_path / "images/b.jpg", SIZE)
    images = [
        {"id": 0, "file_name": "a.jpg", "height": 12, "width": 16},
        {"id": 1, "file_name": "b.jpg", "height": 12, "width": 16},
        {"id": 2, "file_name": "absent.jpg", "height": 12, "width": 16},
    ]
    annotations = [
        {"id": 0, "image_id": "0", "category_id": 1, "segmentation": [2, 3, 8, 3, 8, 5, 2, 5]},
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]},
        {"id": 2, "image_id": 2, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]},
    ]
    annotations += [{**annotations[2], "id": 3 + i, "image_id": "7"} for i in range(3)]
    content = {"images": images, "annotations": annotations}
    (tmp_path / "via.json").write_text(
        json.dumps({**content, "categories": [{"id": 1, "name": "nut"}]})
    )
    result = converted(
        "coco-json", annotations=str(tmp_path / "via.json"), images=str(tmp_path / "images")
    )
    assert [s["bbox"] for s in result.segments("a.jpg")] == [[2, 3, 6, 2]]
    assert [s["area"] for s in result.segments("b.jpg")] == [16]
    unlisted, absent = result.report.skipped
    assert unlisted.name.endswith("via.json: image_id 7")
    assert unlisted.reason == "3 annotations of an image that is not listed"
    assert absent.name == "absent.jpg"


def write_many(root, count):
    """Two images with `count` polygons of 200 corners in turns; the images come last."""
    save_image(root / "images/a.png", SIZE)
    save_image(root / "images/b.png", (9, 7))
    # One pixel each: (0, 0), (1, 0), ...
    annotations = [
        {
            "image_id": 1 + i % 2,
            "category_id": 5,
            "segmentation": [[i % 7, 0, i % 7 + 1, 0] + [i % 7 + 1, 1] * 99 + [i % 7, 1]],
        }
        for i in range(count)
    ]
    content = {"annotations": annotations, "categories": [{"id": 5, "name": "nut"}]}
    content["images"] = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    path = root / "many.json"
    path.write_text(json.dumps(content))
    return path, {"annotations": str(path), "images": str(root / "images")}


def test_annotations_stay_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lists, "WINDOW", 2**14)
    path, options = write_many(tmp_path, 1400)
    tracemalloc.start()
    try:
        opened = open_format("coco-json", **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 900_000
    assert peak < 300_000, "neither its text nor its annotations were in memory as a whole"
    report = convert_set(opened, tmp_path / "out")
    assert report.segments == {"nut": 7 + 7}
    assert report.lost_annotations == {"hidden by others": {"nut": 1400 - 14}}
    # A worker process gets what it needs to read its images, and no samples.
    assert len(pickle.dumps(opened)) < 2_000 < len(pickle.dumps(opened.samples))
    assert len(opened.samples) == 2


def test_a_file_that_changes_meanwhile_is_not_read_on(tmp_path):
    path, options = write_many(tmp_path, 4)
    opened = open_format("coco-json", **options)
    path.write_text(path.read_text().replace("image_id", "image_no"))
    os.utime(path, ns=(0, 0))
    with pytest.raises(ValueError, match=r"many\.json: it was changed while it was converted"):
        convert_set(opened, tmp_path / "out")


def test_reading_reports_its_progress(tmp_path):
    path, options = write_many(tmp_path, 4)
    seen = []
    open_format("coco-json", progress=lambda done, total: seen.append((done, total)), **options)
    assert seen == [(path.stat().st_size,) * 2]
