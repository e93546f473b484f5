"""COCO-panoptic as a source: what is kept of it, and what does not fit together."""

import json

import numpy as np
import pytest
from annotation_files import write
from converted_sets import save_image
from random_panoptic import save_ids

from detr_d2.conversion.formats import open_format

SIZE = (12, 16)
CATEGORIES = [
    {"id": 30, "name": "nut", "isthing": 1, "color": [1, 20, 255], "supercategory": "fruit"},
    {"id": 4, "name": "soil", "isthing": 0},
]


def panoptic(root, image_id=7, **changes) -> dict:
    """One image, a.jpg, of soil (id 65537) with a nut (id 300); the format's options."""
    ids = np.full(SIZE, 65537, np.int32)
    ids[2:5, 3:9] = 300
    save_image(root / "images/a.jpg", SIZE)
    save_ids(root / "panoptic/a mask.png", ids)
    segments = [{"id": 65537, "category_id": 4}, {"id": 300, "category_id": 30}]
    annotation = {"image_id": image_id, "file_name": "a mask.png", "segments_info": segments}
    content = {
        "images": [{"id": image_id, "file_name": "a.jpg", "height": 12, "width": 16}],
        "annotations": [annotation],
        "categories": CATEGORIES,
    }
    path = write(root / "p.json", {**content, **changes})
    folders = {"images": str(root / "images"), "masks": str(root / "panoptic")}
    return {"panoptic_json": path, **folders}


def test_ids_colours_and_parents_are_kept(tmp_path, converted):
    options = panoptic(tmp_path)
    result = converted("coco-panoptic", **options)
    nut, soil = result.content["categories"]
    assert nut == CATEGORIES[0]
    assert soil | CATEGORIES[1] | {"supercategory": ""} == soil
    assert result.images["a.jpg"]["id"] == 7
    assert sorted((s["category_id"], s["area"]) for s in result.segments("a.jpg")) == [
        (4, 192 - 18),
        (30, 18),
    ]
    (sample,) = open_format("coco-panoptic", **options).samples
    assert sample.inputs == (str(tmp_path / "panoptic/a mask.png"),)


def test_an_image_id_that_is_text_becomes_a_number(tmp_path, converted):
    result = converted("coco-panoptic", **panoptic(tmp_path, image_id="street-7"))
    assert result.images["a.jpg"]["id"] == 1


def test_images_and_annotations_without_each_other_are_told(tmp_path):
    options = panoptic(tmp_path)
    content = json.loads((tmp_path / "p.json").read_text())
    (annotation,) = content["annotations"]
    content["annotations"] += [
        {**annotation, "image_id": 8, "file_name": "unlisted.png"},
        {**annotation, "image_id": 9, "file_name": "lost.png"},
    ]
    content["images"] += [{"id": 9, "file_name": "lost.jpg"}, {"id": 10, "file_name": "b.jpg"}]
    write(tmp_path / "p.json", content)
    opened = open_format("coco-panoptic", **options)
    assert [sample.name for sample in opened.samples] == ["a.jpg"]
    assert [(item.name, item.reason) for item in opened.skipped] == [
        (str(tmp_path / "panoptic/unlisted.png"), "its image is not found"),
        (str(tmp_path / "panoptic/lost.png"), "its image is not found"),
        ("b.jpg", "no annotation belongs to it"),
    ]


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([{"id": 65537, "category_id": 4}], r"a mask\.png: ids \[300\] not in p\.json"),
        (
            [{"id": 65537, "category_id": 4}, {"id": 300, "category_id": 31}],
            r"a mask\.png: category_ids \[31\] not in p\.json",
        ),
    ],
)
def test_segments_that_do_not_fit_the_png_are_named(tmp_path, converted, segments, message):
    options = panoptic(tmp_path)
    content = json.loads((tmp_path / "p.json").read_text())
    content["annotations"][0]["segments_info"] = segments
    write(tmp_path / "p.json", content)
    with pytest.raises(ValueError, match=message):
        converted("coco-panoptic", **options)


def test_of_many_ids_without_segment_eight_are_named(tmp_path, converted):
    options = panoptic(tmp_path)
    save_ids(tmp_path / "panoptic/a mask.png", np.arange(192, dtype=np.int32).reshape(SIZE))
    with pytest.raises(ValueError, match=r"ids \[1, 2, 3, 4, 5, 6, 7, 8\] not in"):
        converted("coco-panoptic", **options)


def test_void_is_no_segment(tmp_path, converted):
    """Id 0 needs no entry."""
    options = panoptic(tmp_path)
    ids = np.full(SIZE, 65537, np.int32)
    ids[:, :4] = 0
    save_ids(tmp_path / "panoptic/a mask.png", ids)
    assert [s["area"] for s in converted("coco-panoptic", **options).segments("a.jpg")] == [144]


@pytest.mark.parametrize("content", [b"", b"no PNG"])
def test_a_png_that_cannot_be_read_is_named(tmp_path, converted, content):
    options = panoptic(tmp_path)
    (tmp_path / "panoptic/a mask.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a mask\.png: not readable as a mask"):
        converted("coco-panoptic", **options)


def test_a_png_of_another_size_or_kind_is_rejected(tmp_path, converted):
    options = panoptic(tmp_path)
    path = tmp_path / "panoptic/a mask.png"
    save_ids(path, np.full((12, 15), 65537, np.int32))
    with pytest.raises(ValueError, match=r"a mask\.png: 15x12 pixels, but its image has 16x12"):
        converted("coco-panoptic", **options)
    result = converted("coco-panoptic", **options, resize=True)
    assert [s["area"] for s in result.segments("a.jpg")] == [192]


def test_an_absent_png_is_skipped_until_it_is_there(tmp_path, converted):
    options = panoptic(tmp_path)
    content = json.loads((tmp_path / "p.json").read_text())
    content["images"].append({"id": 8, "file_name": "b (2).jpg", "height": 12, "width": 16})
    twin = {**content["annotations"][0], "image_id": 8, "file_name": "b (2).png"}
    content["annotations"].append(twin)
    write(tmp_path / "p.json", content)
    save_image(tmp_path / "images/b (2).jpg", SIZE, seed=1)
    result = converted("coco-panoptic", **options)
    assert list(result.images) == ["a.jpg"]
    (skipped,) = result.report.skipped
    assert skipped.name == "b (2).jpg"
    assert f"{tmp_path / 'panoptic/b (2).png'}: not readable as a mask" in skipped.reason
    ids = np.full(SIZE, 65537, np.int32)
    ids[0, :4] = 300
    save_ids(tmp_path / "panoptic/b (2).png", ids)
    assert list(converted("coco-panoptic", **options).images) == ["a.jpg", "b (2).jpg"]
