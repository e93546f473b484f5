"""Labelbox and Supervisely: what their files say."""

import numpy as np
import pytest
from annotation_files import BOX, CORNERS, HEIGHT, PIECE, SIZE, WIDTH, labelbox_row, only, write
from converted_sets import save_image

from detr_d2.conversion.rasterize import Rules

ALL = Rules(min_area=0)


def test_labelbox(tmp_path, converted):
    for name in ("a.png", "b.png", "c.png"):
        save_image(tmp_path / "images" / name, SIZE)
    mask = {"name": "nut", "annotation_kind": "ImageSegmentationMask", "mask": {"url": "https://x"}}
    lines = [labelbox_row(PIECE), labelbox_row(mask, name="b.png")]
    lines.append(labelbox_row(PIECE, name="c.png", labels=2))
    path = write(tmp_path / "x.ndjson", "\n".join(lines) + "\n\n")
    options = {"annotations": path, "images": str(tmp_path / "images")}
    result = converted("labelbox", ALL, **options)
    np.testing.assert_array_equal(only(result, "a.png", "nut"), BOX)
    reasons = {item.name: item.reason for item in result.report.skipped}
    assert "picture on Labelbox's server, and nothing is downloaded" in reasons["b.png"]
    assert reasons["c.png"] == "it has 2 labels; choose one project (--project)"
    chosen = converted("labelbox", ALL, **options, project="second")
    assert set(chosen.images) == {"c.png"}


def test_supervisely_polygons_have_holes(tmp_path, converted):
    save_image(tmp_path / "ds/img/a.png", SIZE)
    classes = [{"title": "nut", "shape": "any"}]
    write(tmp_path / "meta.json", {"classes": classes, "tags": []})
    hole = [[4, 4], [6, 4], [6, 6], [4, 6]]
    points = {"exterior": CORNERS, "interior": [hole]}
    shape = {"classTitle": "nut", "geometryType": "polygon", "points": points}
    content = {"size": {"height": HEIGHT, "width": WIDTH}, "tags": [], "objects": [shape]}
    write(tmp_path / "ds/ann/a.png.json", content)
    result = converted("supervisely", ALL, folder=str(tmp_path))
    expected = BOX.copy()
    expected[4:6, 4:6] = False
    np.testing.assert_array_equal(only(result, "ds/a.png", "nut"), expected)


BAD_OBJECTS = [
    ({"classTitle": "nut", "geometryType": "line", "points": {}}, "a line is no mask"),
    ({"classTitle": "pit", "geometryType": "bitmap"}, "which is not in meta.json"),
    ({"classTitle": "nut", "geometryType": "bitmap", "bitmap": {}}, "no origin x, y"),
    (
        {
            "classTitle": "nut",
            "geometryType": "bitmap",
            "bitmap": {"origin": [0, 0], "data": "eJw="},
        },
        "is no packed PNG",
    ),
    (5, "shape 0 has no classTitle"),
]


@pytest.mark.parametrize(("shape", "message"), BAD_OBJECTS)
def test_bad_objects_of_supervisely_are_named(tmp_path, converted, shape, message):
    save_image(tmp_path / "ds/img/a.png", SIZE)
    write(tmp_path / "meta.json", {"classes": [{"title": "nut"}], "tags": []})
    content = {"size": {"height": HEIGHT, "width": WIDTH}, "objects": [shape]}
    write(tmp_path / "ds/ann/a.png.json", content)
    with pytest.raises(ValueError, match=message):
        converted("supervisely", folder=str(tmp_path))
