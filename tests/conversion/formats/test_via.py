"""VGG Image Annotator: project, JSON and CSV of VIA 1 and 2."""

import math
import re

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
    both = open_format("via", annotations=root, images=root, attribute="kind").samples
    assert [(sample.name, sample.inputs) for sample in both] == [
        (f"{part}/a.png", (str(tmp_path / f"set/{part}/via.json"),)) for part in ("train", "val")
    ]
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


def read(tmp_path, content, name: str = "v.json", **options):
    """Open a file of VIA for one image."""
    save_image(tmp_path / "images/a.png", SIZE)
    path = write(tmp_path / name, content)
    return open_format("via", annotations=path, images=str(tmp_path / "images"), **options)


def entry(*regions, **fields) -> dict:
    return {"a.png1": {"filename": "a.png", "regions": list(regions), **fields}}


def region(shape: dict = RECT, **attributes) -> dict:
    return {"shape_attributes": shape, "region_attributes": attributes}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (entry(region()), {}, r"v\.json: its regions have no attributes; give their class"),
        (entry(region(a="x")), {"attribute": "a", "label": "x"}, "an attribute or a class, not"),
        (entry(region(b="x", a="y"), region(c="")), {}, r"several attributes, .*\['a', 'b', 'c'\]"),
        (entry(region(b="x")), {"attribute": "a"}, r"no such attribute, .*\['b'\]"),
        ({**entry(), "b": {"regions": []}}, {"label": "x"}, "entry 'b' has no filename or no reg"),
        ({**entry(), "b": {"filename": 5, "regions": []}}, {"label": "x"}, "entry 'b' has no file"),
        ({**entry(), "b": {"filename": "b", "regions": 7}}, {"label": "x"}, "entry 'b' has no"),
        ({"_via_img_metadata": {"b": 5}}, {"label": "x"}, "entry 'b' has no filename"),
    ],
)
def test_files_of_via_that_say_too_little_are_refused(tmp_path, content, options, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content, **options)


def test_attributes_of_via_are_found_beside_broken_regions(tmp_path):
    regions = [5, {"region_attributes": 7}, {}, region(kind=" nut ")]
    opened = read(tmp_path, entry(*regions))
    assert [c.name for c in opened.classes] == ["nut"]
    # No regions at all may be written as none.
    assert read(tmp_path, entry(region(kind="x"), regions=None), label="x").samples


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ({"nut": False, "leaf": True}, "leaf"),
        ({"nut": True, "leaf": True}, None),
        ({"nut": False}, None),
        (" big nut", "big nut"),
        ("  ", None),
        (3, "3"),
        (True, None),
        (2.5, None),
        (None, None),
    ],
)
def test_the_class_of_a_region(tmp_path, converted, value, label):
    opened = read(tmp_path, entry(region(kind=value), region(kind="last")))
    assert [c.name for c in opened.classes] == sorted(filter(None, [label, "last"]))


CSV = "filename,region_shape_attributes,region_attributes"
ROW = 'a.png,"{""name"":""rect"",""x"":1,""y"":2,""width"":9,""height"":4}","{""kind"":""nut""}"'


@pytest.mark.parametrize(
    ("name", "text", "boxes"),
    [
        ("v.CSV", f"{CSV}\n{ROW}\n\n{ROW.replace(':1,', ':12,')}\n", [[1, 2, 9, 4], [12, 2, 9, 4]]),
        ("v.csv", f"\ufeff#{CSV.replace(',', ' , ')} \n{ROW}", [[1, 2, 9, 4]]),
        ("v.csv", f"{CSV}\na.png,{{}},{{}}\n{ROW}", [[1, 2, 9, 4]]),
    ],
    ids=["upper case, empty line", "mark, spaces", "no region"],
)
def test_tables_of_via(tmp_path, converted, name, text, boxes):
    save_image(tmp_path / "images/a.png", SIZE)
    options = {"annotations": write(tmp_path / name, text), "images": str(tmp_path / "images")}
    result = converted("via", ALL, **options, attribute="kind")
    assert sorted(s["bbox"] for s in result.segments("a.png")) == boxes


def test_tables_of_via_that_are_broken_are_named(tmp_path, converted):
    with pytest.raises(ValueError, match=r"without columns \['region_attributes'\]; it has \['fil"):
        read(tmp_path, "filename,region_shape_attributes\n", "v.csv")
    columns = [f"c{i}" for i in range(9)]
    with pytest.raises(ValueError, match=re.escape(f"it has {columns[:8]}")):
        read(tmp_path, ",".join(columns), "v.csv")
    # A cell that is no JSON is a bad region, not none.
    path = write(tmp_path / "v.csv", f"{CSV}\n{ROW}\na.png,{{rect,{{}}\n")
    options = {"annotations": path, "images": str(tmp_path / "images"), "label": "nut"}
    with pytest.raises(ValueError, match=r"v\.csv: a\.png: shape 1 \(nut\): has no shape_attribut"):
        converted("via", **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"name": "ellipse", "cx": 9, "cy": 9, "rx": 3, "ry": 2, "theta": "x"}, "theta 'x'; must"),
        ({"name": "ellipse", "cx": 9, "cy": 9, "rx": 0, "ry": 2}, "radii 0, 2, angle 0.0; no ell"),
        ({"name": "ellipse", "cx": 9, "cy": 9, "rx": 3, "ry": -1}, "radii 3, -1, angle"),
        ({"name": "ellipse", "cx": 9, "cy": 9, "rx": 3, "ry": 2, "theta": math.inf}, "angle inf"),
        ({"name": "circle", "cx": 9, "cy": 9, "r": "3"}, "a circle needs the numbers"),
        ({"name": "polygon", "all_points_x": [1, 2, 3]}, "as many all_points_x as all_points_y"),
    ],
)
def test_shapes_of_via_without_numbers_are_named(tmp_path, converted, shape, message):
    save_image(tmp_path / "images/a.png", SIZE)
    path = write(tmp_path / "v.json", entry(region(shape)))
    with pytest.raises(ValueError, match=message):
        converted("via", annotations=path, images=str(tmp_path / "images"), label="nut")


def test_a_circle_is_as_wide_as_high(tmp_path, converted):
    save_image(tmp_path / "images/a.png", SIZE)
    path = write(tmp_path / "v.json", entry(region({"name": "circle", "cx": 20, "cy": 9, "r": 3})))
    options = {"annotations": path, "images": str(tmp_path / "images"), "label": "nut"}
    assert [s["bbox"] for s in converted("via", **options).segments("a.png")] == [[17, 6, 6, 6]]
