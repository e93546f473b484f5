"""COCO JSON as other programs write it."""

import json

from converted_sets import save_image

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
        {"id": 3, "image_id": "7", "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]},
    ]
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
    assert absent.name == "absent.jpg"
