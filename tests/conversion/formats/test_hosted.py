"""Labelbox and Supervisely: what their files say."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from annotation_files import BOX, CORNERS, HEIGHT, PIECE, SIZE, WIDTH, labelbox_row, only, write
from converted_sets import save_image
from PIL import Image

from detr_d2.conversion.formats import open_format
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


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"external_id": "a.png"}, "a.png"),
        ({"external_id": "id 5", "global_key": "b.png"}, "b.png"),
        ({"external_id": "", "row_data": "https://x/up/a.png?sig=b.png"}, "a.png"),
        ({"external_id": None, "row_data": "https://x/up/a.png"}, "a.png"),
        ({"row_data": "https://x/b.png", "global_key": "b.png", "external_id": "a.png"}, "a.png"),
    ],
)
def test_the_image_of_a_line_of_labelbox(tmp_path, row, found):
    for name in ("a.png", "b.png"):
        save_image(tmp_path / "images" / name, SIZE)
    line = {**json.loads(labelbox_row(PIECE)), "data_row": row}
    path = write(tmp_path / "x.ndjson", json.dumps(line))
    opened = open_format("labelbox", annotations=path, images=str(tmp_path / "images"))
    assert [sample.name for sample in opened.samples] == [found]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"projects": {}}, "it has no label"),
        ({"projects": {"p": 5, "q": {"labels": None}}}, "it has no label"),
        ({"projects": {"p": {"labels": [5]}}}, "its label has no objects"),
        ({"projects": {"p": {"labels": [{"annotations": {}}]}}}, "its label has no objects"),
        ({"projects": {"p": {"labels": [{}] * 3}}}, r"it has 3 labels; choose one project"),
    ],
)
def test_lines_of_labelbox_without_the_one_label_are_told(tmp_path, change, reason):
    save_image(tmp_path / "images/a.png", SIZE)
    line = {**json.loads(labelbox_row(PIECE)), **change}
    path = write(tmp_path / "x.ndjson", json.dumps(line))
    opened = open_format("labelbox", annotations=path, images=str(tmp_path / "images"))
    (item,) = opened.skipped
    assert item.name == "a.png"
    assert item.reason.startswith(reason)


@pytest.mark.parametrize("project", ["q1", "second", "p1", "first"])
def test_a_project_of_labelbox_is_named_by_its_id_or_name(tmp_path, project):
    save_image(tmp_path / "images/a.png", SIZE)
    path = write(tmp_path / "x.ndjson", labelbox_row(PIECE, labels=2))
    options = {"annotations": path, "images": str(tmp_path / "images")}
    assert len(open_format("labelbox", **options, project=project).samples) == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({**PIECE, "name": ""}, "has no name"),
        (5, "has no name"),
        ({**PIECE, "annotation_kind": "ImageBoundingBox"}, "only a box; a mask is needed"),
        ({**PIECE, "annotation_kind": "ImagePolyline"}, "a polyline has no area"),
        ({**PIECE, "annotation_kind": "ImagePoint"}, "a point has no area"),
        ({**PIECE, "annotation_kind": "Sound"}, "Sound is unknown"),
        ({**PIECE, "polygon": [[1, 2]] * 3}, "its polygon is no list of x and y"),
        ({**PIECE, "polygon": None}, "its polygon is no list of x and y"),
        ({**PIECE, "polygon": [{"x": 1}] * 3}, "are no list of numbers"),
    ],
)
def test_bad_objects_of_labelbox_are_named(tmp_path, converted, shape, message):
    save_image(tmp_path / "images/a.png", SIZE)
    path = write(tmp_path / "x.ndjson", labelbox_row(PIECE, shape))
    with pytest.raises(ValueError, match=rf"x\.ndjson: a\.png: shape 1 .*{message}"):
        converted("labelbox", annotations=path, images=str(tmp_path / "images"))


def test_lines_of_labelbox_are_numbered_from_1_with_the_empty_ones(tmp_path):
    (tmp_path / "images").mkdir()
    options = {"annotations": str(tmp_path / "x.ndjson"), "images": str(tmp_path / "images")}
    for text, message in (
        ("{]", "not valid JSON"),
        ('{"a": 1}', "no export of Labelbox .this is unknown"),
        ('{"data_row": 5, "projects": {}}', "its data_row has no external_id"),
    ):
        write(tmp_path / "x.ndjson", f"{labelbox_row(PIECE)}\n \n{text}\n")
        with pytest.raises(ValueError, match=rf"x\.ndjson: line 3: {message}"):
            open_format("labelbox", **options)


def test_labelbox_says_the_size_of_its_image(tmp_path, converted):
    save_image(tmp_path / "images/a.png", (HEIGHT, WIDTH + 1))
    path = write(tmp_path / "x.ndjson", labelbox_row(PIECE))
    with pytest.raises(ValueError, match="says that its image has 30x20 pixels, but it has 31x20"):
        converted("labelbox", annotations=path, images=str(tmp_path / "images"))


def supervisely(root, *shapes, classes=("nut",), size=SIZE, name="a.png") -> dict:
    """A project with one image."""
    save_image(root / "ds/img/a.png", SIZE)
    write(root / "meta.json", {"classes": [{"title": title} for title in classes], "tags": []})
    sides = {"height": size[0], "width": size[1]}
    write(root / f"ds/ann/{name}.json", {"size": sides, "objects": list(shapes)})
    return {"folder": str(root)}


def bitmap(values: np.ndarray, x: int, y: int, **options) -> dict:
    """A bitmap of nut whose upper left pixel is at x, y."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", **options)
    data = base64.b64encode(zlib.compress(buffer.getvalue())).decode()
    return {"classTitle": "nut", "bitmap": {"origin": [x, y], "data": data}}


def rgba(alpha: int, red: int) -> np.ndarray:
    values = np.zeros((3, 5, 4), np.uint8)
    values[..., 0] = red
    values[:, :2, 3] = alpha
    return values


@pytest.mark.parametrize(
    ("values", "options", "width"),
    [
        # Alpha is the mask where there is one, though all is red; else what is not black.
        (rgba(1, 255), {}, 2),
        (rgba(255, 0), {}, 2),
        (rgba(0, 255)[..., 0] * np.uint8([1, 1, 1, 0, 0]), {}, 3),
        (np.uint8([[1, 1, 0, 0, 0]] * 3), {}, 2),
        (np.uint8([[7, 7, 9, 9, 9]] * 3), {"transparency": 9}, 2),
    ],
    ids=["alpha 1", "black", "grey", "grey 1", "one transparent value"],
)
@pytest.mark.parametrize(("x", "y"), [(0, 0), (WIDTH - 5, HEIGHT - 3)])
def test_bitmaps_of_supervisely(tmp_path, converted, values, options, width, x, y):
    result = converted("supervisely", ALL, **supervisely(tmp_path, bitmap(values, x, y, **options)))
    assert [s["bbox"] for s in result.segments("ds/a.png")] == [[x, y, width, 3]]


@pytest.mark.parametrize(
    ("x", "y"), [(-1, 0), (0, -1), (WIDTH - 4, 0), (0, HEIGHT - 2)], ids=lambda side: str(side)
)
def test_bitmaps_outside_of_the_image_are_named(tmp_path, converted, x, y):
    options = supervisely(tmp_path, bitmap(rgba(255, 0), x, y))
    with pytest.raises(ValueError, match=rf"a\.png\.json: .*bitmap of 5x3 at {x},{y} is outside"):
        converted("supervisely", **options)


def square(x: int, **more) -> dict:
    points = {"exterior": [[x, 0], [x + 3, 0], [x + 3, 2], [x, 2]], "interior": []}
    return {"classTitle": "nut", "points": points, **more}


@pytest.mark.parametrize(
    ("shapes", "areas"),
    [
        # Old files do not say the type.
        ((square(0),), [6]),
        ((square(0, instance="k"), square(9, instance="k"), square(20)), [6, 12]),
        ((square(0, instance=[1]), square(9, instance=[1])), [6, 6]),
        (
            ({**square(0, geometryType="rectangle"), "points": {"exterior": [[4, 3], [1, 1]]}},),
            [6],
        ),
        ((square(0, classTitle="_background_"), square(9)), [6]),
        ((square(0, classTitle="blur"), square(9)), [6]),
    ],
)
def test_objects_of_supervisely(tmp_path, converted, shapes, areas):
    options = supervisely(tmp_path, *shapes)
    result = converted("supervisely", ALL, **options, skip=("blur",))
    assert sorted(s["area"] for s in result.segments("ds/a.png")) == areas


def test_a_void_object_of_supervisely_needs_no_class(tmp_path, converted):
    options = supervisely(tmp_path, square(0, classTitle="blur"), square(9))
    rules = Rules(min_area=0, background_class="table")
    result = converted("supervisely", rules, **options, ignore=("blur",))
    assert (result.labels("ds/a.png")[:2, :3] == "").all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (square(0, geometryType="rectangle"), "a rectangle is no mask"),
        (square(0, points=5), "a polygon is no mask"),
        ({"classTitle": "nut", "bitmap": {"origin": [1.5, 0]}}, "its bitmap has no origin x, y"),
        ({"classTitle": "nut", "bitmap": {"origin": [0]}}, "its bitmap has no origin x, y"),
    ],
)
def test_objects_of_supervisely_without_mask_are_named(tmp_path, converted, shape, message):
    options = supervisely(tmp_path, shape)
    with pytest.raises(ValueError, match=rf"a\.png\.json: shape 0 \(nut\): {message}"):
        converted("supervisely", **options)


def test_files_of_supervisely_without_each_other_are_told(tmp_path):
    options = supervisely(tmp_path, square(0), name="a")
    save_image(tmp_path / "ds/img/b.png", SIZE)
    save_image(tmp_path / "ds/preview.png", SIZE)
    write(tmp_path / "ds/ann/c.png.json", {"size": {}, "objects": []})
    write(tmp_path / "ann/d.png.json", {})
    write(tmp_path / "ds/meta/e.png.json", {})
    opened = open_format("supervisely", **options)
    # Old files are named without the image's extension.
    (sample,) = opened.samples
    files = (str(tmp_path / "ds/ann/a.json"), str(tmp_path / "meta.json"))
    assert (sample.name, sample.inputs) == ("ds/a.png", files)
    assert [(item.name, item.reason) for item in opened.skipped] == [
        (f"{tmp_path}/ds/ann/c.png.json", "its image is not found in img beside ann"),
        (f"{tmp_path}/ds/img/b.png", "no annotation file belongs to it"),
    ]


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"classes": 5}, "it has no list of classes"),
        ([], "it has no list of classes"),
        ({"classes": [{"title": "nut"}, 5]}, "a class has no title"),
        ({"classes": [{"title": 7}]}, "a class has no title"),
    ],
)
def test_a_project_of_supervisely_names_its_classes(tmp_path, meta, message):
    write(tmp_path / "meta.json", meta)
    with pytest.raises(ValueError, match=rf"meta\.json: .*{message}"):
        open_format("supervisely", folder=str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"shapes": []}, r"a\.png\.json: no annotation of Supervisely \(this is labelme\)"),
        ("{", r"a\.png\.json: not valid JSON"),
    ],
)
def test_a_file_that_is_no_annotation_of_supervisely_is_named(
    tmp_path, converted, content, message
):
    options = supervisely(tmp_path)
    write(tmp_path / "ds/ann/a.png.json", content)
    with pytest.raises(ValueError, match=message):
        converted("supervisely", **options)


def test_supervisely_says_the_size_of_its_image(tmp_path, converted):
    options = supervisely(tmp_path, square(0), size=(HEIGHT, WIDTH + 1))
    with pytest.raises(ValueError, match="says that its image has 31x20 pixels, but it has 30x20"):
        converted("supervisely", **options)
