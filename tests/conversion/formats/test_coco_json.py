"""COCO JSON as other programs write it."""

import json
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from converted_sets import save_image, save_mask

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules
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


def test_a_file_that_grows_within_its_time_stamp_is_not_read_on(tmp_path):
    path, options = write_many(tmp_path, 4)
    opened = open_format("coco-json", **options)
    before = path.stat()
    path.write_text(path.read_text() + " ")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ValueError, match=r"many\.json: it was changed while it was converted"):
        convert_set(opened, tmp_path / "out")


SQUARE = [[0, 0, 4, 0, 4, 4, 0, 4]]


def coco(root, categories, used=(1,), images=None, **changes) -> dict:
    """One image, a.png, or several, of which the first has an annotation of each used class."""
    images = images or [{"id": 1, "file_name": "a.png"}]
    for image in images:
        save_image(root / "images" / image["file_name"], SIZE)
    annotations = [
        {"id": 10 + i, "image_id": images[0]["id"], "category_id": key, "segmentation": SQUARE}
        for i, key in enumerate(used)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "x.json").write_text(json.dumps({**content, **changes}))
    return {"annotations": str(root / "x.json"), "images": str(root / "images")}


FRUIT = {"id": 0, "name": "fruit", "supercategory": "none"}
NUT = {"id": 1, "name": "nut", "supercategory": "fruit"}


@pytest.mark.parametrize(
    ("categories", "used", "kept"),
    [
        # A placeholder for all, as some exporters write it.
        ([FRUIT, NUT], [1], [1]),
        ([FRUIT, NUT], [0, 1], [0, 1]),
        # Its own parent is no placeholder.
        ([{"id": 5, "name": "nut", "supercategory": "nut"}, {"id": 7, "name": "pit"}], [7], [5, 7]),
        # The same class twice, of which one is used.
        ([NUT, {**NUT, "id": 2}], [2], [2]),
        ([{"id": 3, "name": "nut"}, {"id": 2, "name": "pit"}], [3, 3], [3, 2]),
    ],
)
def test_placeholders_of_exporters_are_no_classes(tmp_path, categories, used, kept):
    opened = open_format("coco-json", **coco(tmp_path, categories, used))
    assert [c.key for c in opened.classes] == kept


@pytest.mark.parametrize(
    ("categories", "used", "what"),
    [
        ([NUT, {**NUT, "id": 2}], [1, 2], r"the name \['nut'\]"),
        ([NUT, {**NUT, "name": "pit"}], [1], r"the id \[1\]"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(tmp_path, categories, used, what):
    options = coco(tmp_path, categories, used)
    with pytest.raises(ValueError, match=rf"x\.json: several annotated categories have {what}$"):
        open_format("coco-json", **options)


def test_what_categories_say_of_themselves_is_kept(tmp_path, converted):
    categories = [{**NUT, "id": 40}, {"id": 9, "name": "soil", "isthing": 0}]
    result = converted("coco-json", **coco(tmp_path, categories, [40, 9]))
    keys = ("id", "name", "isthing", "supercategory")
    assert [tuple(c[key] for key in keys) for c in result.content["categories"]] == [
        (40, "nut", 1, "fruit"),
        (9, "soil", 0, ""),
    ]


@pytest.mark.parametrize(
    ("given", "ids"), [([70, 3], [70, 3]), ([70, 70], [1, 2]), (["70", "3"], [1, 2])]
)
def test_ids_of_images_are_kept_if_they_are_numbers_and_differ(tmp_path, converted, given, ids):
    images = [{"id": i, "file_name": n} for i, n in zip(given, ("a.png", "b.png"), strict=True)]
    result = converted("coco-json", **coco(tmp_path, [NUT], images=images))
    assert [result.images[name]["id"] for name in ("a.png", "b.png")] == ids


def test_a_category_named_ignore_is_void(tmp_path, converted):
    categories = [NUT, {"id": 2, "name": "__ignore__"}]
    options = coco(tmp_path, categories, [2])
    result = converted("coco-json", Rules(background_class="table"), **options)
    assert [s["area"] for s in result.segments("a.png")] == [192 - 16]
    assert list(result.names.values()) == ["nut", "table"]


def test_images_that_are_not_listed_or_ambiguous_are_told(tmp_path):
    options = coco(tmp_path, [NUT], images=[{"id": 1, "file_name": "a.png"}])
    for name in ("b/c.png", "d/c.png"):
        save_image(tmp_path / "images" / name, SIZE)
    content = json.loads((tmp_path / "x.json").read_text())
    content["images"].append({"id": 2, "file_name": "c.png"})
    content["annotations"] += [5, {"id": 9, "category_id": 1}]
    (tmp_path / "x.json").write_text(json.dumps(content))
    folder = options["images"]
    found = [(item.name, item.reason) for item in open_format("coco-json", **options).skipped]
    assert found == [
        (f"{tmp_path}/x.json: annotation 1", "has no image_id or no category_id"),
        (f"{tmp_path}/x.json: annotation 2", "has no image_id or no category_id"),
        ("c.png", f"c.png: may be any of ['b/c.png', 'd/c.png'] below {folder}"),
        (f"{folder}/b/c.png", f"not in {tmp_path}/x.json"),
        (f"{folder}/d/c.png", f"not in {tmp_path}/x.json"),
    ]


def with_semantic(root, values: dict[str, str], **options) -> dict:
    """Value 5 over all, a row of 200 and a column of 0; the annotation covers 16 pixels."""
    mask = np.full(SIZE, 5, np.uint8)
    mask[11], mask[:11, 15] = 200, 0
    save_mask(root / "images/a_sem.png", mask)
    folders = {"semantic": str(root / "images"), "semantic_pattern": "{image}_sem"}
    return {**coco(root, [NUT, {"id": 2, "name": "soil"}]), **folders, **values, **options}


def test_a_semantic_mask_lies_under_the_annotations(tmp_path, converted):
    """Soil is a class of both, and rock a new one; 0 is not labelled."""
    options = with_semantic(tmp_path, {"values": "5=soil,200=rock"}, stuff=("soil", "rock"))
    result = converted("coco-json", Rules(background_class="table"), **options)
    areas = {result.names[s["category_id"]]: s["area"] for s in result.segments("a.png")}
    assert areas == {"nut": 16, "soil": 192 - 16 - 16 - 11, "rock": 16, "table": 11}
    assert {name: key for key, name in result.names.items()} == {
        "nut": 1, "soil": 2, "rock": 3, "table": 4,
    }  # fmt: skip
    assert result.report.skipped == []
    (sample,) = open_format("coco-json", **options).samples
    assert sample.inputs == (str(tmp_path / "images/a_sem.png"),)


def test_values_of_a_semantic_mask_may_be_void_or_things(tmp_path, converted):
    """What is declared as void is no background; a thing without annotation is nothing either."""
    options = with_semantic(tmp_path, {"values": "5=soil,0=leaf"}, stuff=("soil",), void=(200,))
    result = converted("coco-json", Rules(background_class="table"), **options)
    areas = {result.names[s["category_id"]]: s["area"] for s in result.segments("a.png")}
    assert areas == {"nut": 16, "soil": 192 - 16 - 16 - 11}
    with pytest.raises(ValueError, match="a semantic folder needs classes with pixel values"):
        open_format("coco-json", **{**options, "values": ()})


def test_an_unlisted_image_is_told_though_it_has_a_semantic_mask(tmp_path):
    """Images and semantic masks in one folder, reached by another path."""
    options = with_semantic(tmp_path, {"values": "5=soil"})
    save_image(tmp_path / "images/b.png", SIZE)
    save_mask(tmp_path / "images/b_sem.png", np.full(SIZE, 5, np.uint8))
    (tmp_path / "link").symlink_to(tmp_path / "images")
    (item,) = open_format("coco-json", **{**options, "semantic": str(tmp_path / "link")}).skipped
    assert (item.name, item.reason) == (
        str(tmp_path / "images/b.png"),
        f"not in {tmp_path}/x.json",
    )
