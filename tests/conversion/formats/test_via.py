"""VGG Image Annotator: project, JSON and CSV of VIA 1 and 2."""

import math

import numpy as np
import pytest
from annotation_files import (
    BOX,
    POLYGON,
    PROJECT,
    RECT,
    REGIONS,
    SIZE,
    VIA_1,
    VIA_2,
    only,
    via_csv,
    write,
)
from converted_sets import save_image

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules

ALL = Rules(min_area=0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("via.json", VIA_1),
        ("via.json", VIA_2),
        ("via.json", PROJECT),
        ("via.csv", via_csv(REGIONS)),
        ("via.csv", via_csv(REGIONS, "#")),
    ],
    ids=["1", "2", "project", "csv 2", "csv 1"],
)
def test_via(tmp_path, converted, name, content):
    for image in ("a", "b"):
        save_image(tmp_path / f"images/{image}.png", SIZE)
    options = {"annotations": write(tmp_path / name, content), "images": str(tmp_path / "images")}
    result = converted("via", ALL, **options, attribute="kind")
    np.testing.assert_array_equal(only(result, "a.png", "nut"), BOX)
    assert only(result, "a.png", "leaf")[10:13, 20:24].sum() == 12
    assert result.segments("b.png") == []
    with pytest.raises(ValueError, match=r"several attributes, .*\['kind', 'state'\]"):
        open_format("via", **options)
    with pytest.raises(ValueError, match="no such attribute"):
        open_format("via", **options, attribute="sort")


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ({"name": "circle", "cx": 10, "cy": 10, "r": 3}, 32),
        ({"name": "ellipse", "cx": 15, "cy": 10, "rx": 6, "ry": 2, "theta": 0}, 40),
    ],
)
def test_round_regions_of_via(tmp_path, converted, shape, area):
    save_image(tmp_path / "images/a.png", SIZE)
    region = {"shape_attributes": shape, "region_attributes": {}}
    path = write(tmp_path / "v.json", {"a.png1": {"filename": "a.png", "regions": [region]}})
    result = converted("via", ALL, annotations=path, images=str(tmp_path / "images"), label="nut")
    assert result.segments("a.png")[0]["area"] == area


def test_an_ellipse_is_turned_clockwise():
    from detr_d2.conversion.formats.shapes import fill_ellipse

    upright = fill_ellipse([15, 10], [6, 2], SIZE, "x", 90)
    np.testing.assert_array_equal(upright, fill_ellipse([15, 10], [2, 6], SIZE, "x"))
    falling = fill_ellipse([15, 10], [6, 2], SIZE, "x", 45)
    assert falling[13, 18] and not falling[13, 11]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"shape_attributes": {"name": "polyline"}}, "a polyline has no area"),
        ({"shape_attributes": {"name": "point", "cx": 1, "cy": 1}}, "a point has no area"),
        ({"shape_attributes": {**POLYGON, "all_points_x": [1]}}, "as many all_points_x as"),
        ({"shape_attributes": {**RECT, "x": None}}, "a rect needs the numbers"),
        ({"shape_attributes": {**RECT, "x": 1e9}}, "is not within"),
        ({}, "has no shape_attributes"),
        ({"shape_attributes": RECT, "region_attributes": {"kind": ""}}, "no single value of"),
        ({"shape_attributes": RECT, "region_attributes": {"kind": {"a": 1, "b": 1}}}, "no single"),
        (5, "no single value"),
    ],
)
def test_bad_regions_of_via_are_named(tmp_path, converted, region, message):
    if isinstance(region, dict):
        region.setdefault("region_attributes", {"kind": "nut"})
    save_image(tmp_path / "images/a.png", SIZE)
    entry = {"filename": "a.png", "regions": [REGIONS[1], region]}
    path = write(tmp_path / "v.json", {"a.png1": entry})
    with pytest.raises(ValueError, match=message):
        converted("via", annotations=path, images=str(tmp_path / "images"), attribute="kind")


def test_a_folder_of_via_files(tmp_path, converted):
    """A file for train and one for val, whose images have the same name and lie beside them."""
    for part, region in zip(("train", "val"), REGIONS, strict=True):
        save_image(tmp_path / f"set/{part}/a.png", SIZE)
        entry = {"filename": "a.png", "regions": [region]}
        path = write(tmp_path / f"set/{part}/via.json", {"a.png1": entry})
    root = str(tmp_path / "set")
    result = converted("via", ALL, annotations=root, images=root, attribute="kind")
    np.testing.assert_array_equal(only(result, "train__a.png", "nut"), BOX)
    assert only(result, "val__a.png", "leaf").sum() == 12
    one = open_format("via", annotations=path, images=root, attribute="kind")
    assert [(sample.name, sample.inputs) for sample in one.samples] == [("val/a.png", (path,))]
    with pytest.raises(ValueError, match=r"there is no \.json in this folder"):
        open_format("via", annotations=str(tmp_path / "converted/images"), images=root)


def test_classes_of_via_may_be_numbers(tmp_path, converted):
    save_image(tmp_path / "images/a.png", SIZE)
    region = {"shape_attributes": POLYGON, "region_attributes": {"kind": 7}}
    path = write(tmp_path / "v.json", {"a.png1": {"filename": "a.png", "regions": [region]}})
    options = {"annotations": path, "images": str(tmp_path / "images")}
    np.testing.assert_array_equal(only(converted("via", ALL, **options), "a.png", "7"), BOX)
    truth = {**region, "region_attributes": {"kind": True}}
    write(tmp_path / "v.json", {"a.png1": {"filename": "a.png", "regions": [region, truth]}})
    with pytest.raises(ValueError, match="no single value of the attribute 'kind'"):
        converted("via", ALL, **options)


def test_the_angle_of_an_ellipse_is_in_radians_and_may_be_absent(tmp_path, converted):
    """Turned by a quarter, it is as wide as it was high: 4 columns and 12 rows."""
    save_image(tmp_path / "images/a.png", SIZE)
    shape = {"name": "ellipse", "cx": 15, "cy": 10, "rx": 6, "ry": 2}
    boxes = []
    for turned in ({}, {"theta": 0.5 * math.pi}):
        region = {"shape_attributes": {**shape, **turned}, "region_attributes": {}}
        path = write(tmp_path / "v.json", {"a.png1": {"filename": "a.png", "regions": [region]}})
        options = {"annotations": path, "images": str(tmp_path / "images"), "label": "nut"}
        boxes += [s["bbox"] for s in converted("via", ALL, **options).segments("a.png")]
    assert boxes == [[9, 8, 12, 4], [13, 4, 4, 12]]
