"""The format of a JSON is named when it is not the wanted one."""

import json

import pytest

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.recognize import recognize_json

COCO = {"images": [], "annotations": [{"image_id": 1, "category_id": 1}], "categories": []}
PANOPTIC = {**COCO, "annotations": [{"image_id": 1, "segments_info": []}]}
VIA_1 = {"a.jpg123": {"filename": "a.jpg", "regions": {"0": {"shape_attributes": {}}}}}
VIA_2 = {"a.jpg123": {"filename": "a.jpg", "regions": [{"shape_attributes": {}}]}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (COCO, "COCO JSON"),
        (PANOPTIC, "COCO-panoptic"),
        ({"images": [], "annotations": [], "categories": []}, None),
        ({"shapes": [], "imagePath": "a.jpg"}, "labelme"),
        (VIA_1, "VIA 1"),
        (VIA_2, "VIA 2"),
        ({"_via_settings": {}, "_via_img_metadata": VIA_2}, "a project of VIA 2"),
        ({"size": {"height": 1, "width": 1}, "objects": []}, "Supervisely"),
        ({"imgWidth": 1, "imgHeight": 1, "objects": []}, "polygons of Cityscapes"),
        ({"data_row": {}, "projects": {}}, "Labelbox"),
        ([{"id": 1, "data": {}, "annotations": []}], "Label Studio"),
        (COCO["annotations"], "results or annotations of COCO without their images and categories"),
        ({}, None),
        ([], None),
        ("text", None),
    ],
)
def test_formats_are_recognized(content, expected):
    assert recognize_json(content) == expected


@pytest.mark.parametrize(
    ("annotation_format", "key", "content", "message"),
    [
        ("coco-json", "annotations", PANOPTIC, r"x\.json: this is COCO-panoptic, not COCO JSON"),
        ("coco-json", "annotations", VIA_1, "this is VIA 1, not COCO JSON"),
        ("coco-panoptic", "panoptic_json", COCO, "this is COCO JSON, not COCO-panoptic"),
        ("coco-json", "annotations", {"images": []}, "no list annotations, categories"),
    ],
)
def test_a_wrong_format_is_named(tmp_path, annotation_format, key, content, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    options = {key: str(path), "images": str(tmp_path)}
    if annotation_format == "coco-panoptic":
        options["masks"] = str(tmp_path)
    with pytest.raises(ValueError, match=message):
        open_format(annotation_format, **options)


def test_a_file_beside_labelmes_is_named(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(COCO))
    (item,) = open_format("labelme", folder=str(tmp_path)).skipped
    assert item.reason == "no labelme file (this is COCO JSON)"


TASK = {"id": 1, "data": {}, "annotations": []}
VIA_3 = {"project": 1, "config": 2, "metadata": 3}
OLD = {"Label": {}, "Labeled Data": "u"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({**COCO, "annotations": []}, None),
        ({"_via_settings": {}}, "a project of VIA 2"),
        ({"_via_img_metadata": {}}, "a project of VIA 2"),
        (OLD, "an old JSON export of Labelbox, which exports NDJSON now"),
        ([OLD], "an old JSON export of Labelbox, which exports NDJSON now"),
        ({"classes": [], "tags": []}, "the meta.json of a project of Supervisely"),
        ({"labels": [], "mapping": 1}, "the configuration of Mapillary Vistas"),
        (VIA_3, "VIA 3, which exports COCO JSON"),
        (
            [{"annotation_id": 1, "annotator": 2}],
            "JSON-MIN of Label Studio, which exports JSON too",
        ),
        (
            [{"data_row": {}, "projects": {}}],
            "Labelbox as one list, where NDJSON has one object a line",
        ),
        (
            PANOPTIC["annotations"],
            "annotations of COCO-panoptic without their images and categories",
        ),
    ],
)
def test_more_formats_are_recognized(content, expected):
    assert recognize_json(content) == expected


HALVES = [
    *({key: value} for whole in (OLD, TASK, VIA_3) for key, value in whole.items()),
    {"shapes": 5},
    {"objects": []},
    {"objects": 5, "size": 1, "imgWidth": 1},
    {"data_row": {}},
    {"projects": {}},
    {"classes": []},
    {"labels": []},
    {"classes": 5, "tags": []},
    {"labels": 5, "mapping": 1},
    {"annotation_id": 1},
    {"annotator": 1},
    {"image_id": 1},
    {"category_id": 1},
    {"segments_info": []},
    {**TASK, "annotations": 5},
    {"a.jpg": {"regions": []}, "b.jpg": {}, "c.jpg": 5},
]


@pytest.mark.parametrize("content", HALVES, ids=str)
def test_half_of_a_format_is_none(content):
    assert recognize_json(content) is None
    assert recognize_json([content]) is None


@pytest.mark.parametrize("content", [[5], [[]], [None], 5, None])
def test_json_of_anything_is_unknown(content):
    assert recognize_json(content) is None
