"""labelme's shapes of every type, on synthetic files."""

import base64
import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from converted_sets import save_image
from PIL import Image

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.labelme import find_image
from detr_d2.conversion.rasterize import Rules

HEIGHT, WIDTH = 40, 60


def encode(mask: np.ndarray, inside: int = 255) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.uint8(mask) * inside).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def write(folder: Path, *shapes: dict, stem: str = "a", **fields) -> Path:
    """An image and its JSON; returns the folder."""
    save_image(folder / f"{stem}.png", (HEIGHT, WIDTH))
    content = {"shapes": shapes, "imagePath": f"{stem}.png", "imageData": None}
    content |= {"imageHeight": HEIGHT, "imageWidth": WIDTH, **fields}
    (folder / f"{stem}.json").write_text(json.dumps(content))
    return folder


def shape(kind: str | None, points: list, label: str = "x", **fields) -> dict:
    return {"label": label, "shape_type": kind, "points": points, "group_id": None, **fields}


RECTANGLE = np.zeros((HEIGHT, WIDTH), bool)
RECTANGLE[5:15, 10:30] = True
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
TRIANGLE = np.tri(6, 8, dtype=bool)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (shape("polygon", [[10, 5], [30, 5], [30, 15], [10, 15]]), RECTANGLE),
        # Files of old versions do not name the type.
        (shape(None, [[10, 5], [30, 5], [30, 15], [10, 15]]), RECTANGLE),
        # From any corner to the one across.
        (shape("rectangle", [[10, 5], [30, 15]]), RECTANGLE),
        (shape("rectangle", [[30, 5], [10, 15]]), RECTANGLE),
        (shape("oriented_rectangle", [[30, 5], [30, 15], [10, 15], [10, 5]]), RECTANGLE),
        # What lies outside of the image does not exist.
        (shape("rectangle", [[-5, -5], [10, 100]]), COLUMNS < 10),
    ],
)
def test_polygons_and_rectangles_cover_exact_pixels(tmp_path, converted, found, expected):
    result = converted("labelme", folder=write(tmp_path / "in", found))
    np.testing.assert_array_equal(result.labels("a.png") == "x", expected)


def test_circles_go_from_the_centre_to_a_point_on_the_edge(tmp_path, converted):
    # Radius 5 = sqrt(3^2 + 4^2).
    folder = write(tmp_path / "in", shape("circle", [[20, 20], [23, 24]]))
    found = converted("labelme", folder=folder).labels("a.png") == "x"
    distance = np.hypot(COLUMNS - 20, ROWS - 20)
    assert found[distance <= 4.5].all()
    assert not found[distance >= 5.5].any()


@pytest.mark.parametrize(
    ("found", "centres"),
    [
        (shape("point", [[20, 10]]), [(20, 10)]),
        (shape("points", [[20, 10], [40, 30]]), [(20, 10), (40, 30)]),
    ],
)
def test_points_are_discs_of_radius_5(tmp_path, converted, found, centres):
    result = converted("labelme", folder=write(tmp_path / "in", found))
    distance = np.min([np.hypot(COLUMNS - x, ROWS - y) for x, y in centres], axis=0)
    labelled = result.labels("a.png") == "x"
    assert labelled[distance <= 4.5].all()
    assert not labelled[distance >= 5.5].any()
    # Several points of one shape are one object.
    assert len(result.segments("a.png")) == 1


@pytest.mark.parametrize(
    ("found", "corners"),
    [
        (shape("line", [[10, 20], [50, 20]]), [(10, 20), (50, 20)]),
        (shape("linestrip", [[10, 10], [30, 25]]), [(10, 10), (30, 25)]),
        (shape("linestrip", [[10, 10], [30, 10], [30, 30]]), [(10, 10), (30, 10), (30, 30)]),
    ],
)
def test_lines_are_10_pixels_wide_and_open(tmp_path, converted, found, corners):
    result = converted("labelme", folder=write(tmp_path / "in", found))
    distance = np.full((HEIGHT, WIDTH), np.inf)
    for (x0, y0), (x1, y1) in pairwise(corners):
        along = (COLUMNS - x0) * (x1 - x0) + (ROWS - y0) * (y1 - y0)
        along = (along / ((x1 - x0) ** 2 + (y1 - y0) ** 2)).clip(0, 1)
        apart = np.hypot(COLUMNS - x0 - along * (x1 - x0), ROWS - y0 - along * (y1 - y0))
        distance = np.minimum(distance, apart)
    labelled = result.labels("a.png") == "x"
    assert labelled[distance <= 4].all()
    assert not labelled[distance >= 7].any()


@pytest.mark.parametrize(("left", "top"), [(12, 7), (0, 0), (WIDTH - 8, HEIGHT - 6)])
def test_embedded_masks_lie_at_their_first_point(tmp_path, converted, left, top):
    found = shape("mask", [[left, top], [left + 7, top + 5]], mask=encode(TRIANGLE))
    result = converted("labelme", folder=write(tmp_path / "in", found))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[top : top + 6, left : left + 8] = TRIANGLE
    np.testing.assert_array_equal(result.labels("a.png") == "x", expected)


def test_a_corner_of_an_embedded_mask_between_pixels_is_rounded(tmp_path, converted):
    found = shape("mask", [[11.6, 7.4], [18.6, 12.4]], mask=encode(TRIANGLE, inside=1))
    labels = converted("labelme", folder=write(tmp_path / "in", found)).labels("a.png")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[7:13, 12:20] = TRIANGLE
    np.testing.assert_array_equal(labels == "x", expected)


def test_groups_may_have_names(tmp_path, converted):
    corners = [[[x, y], [x + 4, y + 4]] for y, x in ((0, 0), (0, 8), (0, 16), (0, 24), (8, 24))]
    groups = ["left", "left", "right", 0, 0]
    shapes = [
        shape("rectangle", points, group_id=group)
        for points, group in zip(corners, groups, strict=True)
    ]
    result = converted("labelme", folder=write(tmp_path / "in", *shapes))
    assert sorted(s["area"] for s in result.segments("a.png")) == [16, 32, 32]


def test_groups_void_and_labels_without_class(tmp_path, converted):
    folder = write(
        tmp_path / "in",
        shape("rectangle", [[0, 0], [4, 4]], "nut", group_id=1),
        shape("rectangle", [[8, 0], [12, 4]], "nut", group_id=1),
        shape("rectangle", [[16, 0], [20, 4]], "nut"),
        shape("rectangle", [[0, 20], [10, 30]], "__ignore__"),
        shape("rectangle", [[20, 20], [30, 30]], "_background_"),
        shape("rectangle", [[40, 20], [50, 30]], "blur"),
    )
    rules = Rules(background_class="table")
    result = converted("labelme", rules, folder=folder, skip=("blur",))
    areas = sorted((result.names[s["category_id"]], s["area"]) for s in result.segments("a.png"))
    void, total = 100, HEIGHT * WIDTH
    assert areas == [("nut", 16), ("nut", 32), ("table", total - 48 - void)]
    assert (result.labels("a.png")[20:30, :10] == "").all()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (shape("star", [[1, 1]]), r"a\.json: shape 0 \(x\): shape_type 'star', allowed:"),
        (shape("circle", [[1, 1]]), "1 points, a circle has 2 or more"),
        (shape("polygon", [[1, 1], [9, 1]]), "2 points, a polygon has 3 or more"),
        (shape("rectangle", [[1, 1]]), "1 points, a rectangle has 2 or more"),
        (shape("line", [[1, 1]]), "1 points, a line has 2 or more"),
        (shape("linestrip", [[1, 1]]), "1 points, a linestrip has 2 or more"),
        (shape("oriented_rectangle", [[1, 1], [9, 1], [9, 9]]), "3 points, .* has 4 or more"),
        # Each side of the image alone: one pixel more than fits.
        (shape("mask", [[53, 34], [60, 39]], mask=encode(TRIANGLE)), "8x6 at 53,34 is outside"),
        (shape("mask", [[52, 35], [59, 40]], mask=encode(TRIANGLE)), "8x6 at 52,35 is outside"),
        (shape("mask", [[-1, 34], [6, 39]], mask=encode(TRIANGLE)), "8x6 at -1,34 is outside"),
        (shape("mask", [[0, -1], [7, 4]], mask=encode(TRIANGLE)), "8x6 at 0,-1 is outside"),
        (shape("mask", [[5, 5], [9, 9]], mask="AAAA"), "its mask is no image"),
        (shape("mask", [[5, 5], [9, 9]], mask=None), "embedded image cannot be decoded"),
    ],
)
def test_faulty_shapes_are_rejected_with_their_place(tmp_path, converted, found, message):
    folder = write(tmp_path / "in", found)
    with pytest.raises(ValueError, match=message):
        converted("labelme", folder=folder)


def test_another_size_than_the_image_is_rejected_or_scaled(tmp_path, converted):
    found = shape("rectangle", [[0, 0], [30, 20]])
    folder = write(tmp_path / "in", found, imageHeight=20, imageWidth=30)
    with pytest.raises(ValueError, match=r"30x20 pixels, but it has 60x40.*--resize"):
        converted("labelme", folder=folder)
    assert converted("labelme", folder=folder, resize=True).segments("a.png")[0]["area"] == 2400


def test_the_embedded_image_is_used_where_the_file_is_absent(tmp_path, converted):
    folder = write(tmp_path / "in", shape("rectangle", [[0, 0], [4, 4]]))
    pixels = (folder / "a.png").read_bytes()
    write(folder, shape("rectangle", [[0, 0], [4, 4]]), imageData=base64.b64encode(pixels).decode())
    (folder / "a.png").unlink()
    result = converted("labelme", folder=folder)
    assert (result.folder / "images/a.png").read_bytes() == pixels


def test_an_embedded_jpeg_stays_one(tmp_path, converted):
    folder = write(tmp_path / "in", shape("rectangle", [[0, 0], [4, 4]]))
    (folder / "a.png").unlink()
    save_image(tmp_path / "a.jpg", (HEIGHT, WIDTH))
    pixels = (tmp_path / "a.jpg").read_bytes()
    content = json.loads((folder / "a.json").read_text())
    content["imageData"] = base64.b64encode(pixels).decode()
    (folder / "a.json").write_text(json.dumps(content))
    result = converted("labelme", folder=folder)
    assert (result.folder / "images/a.jpg").read_bytes() == pixels


def test_images_are_found_in_the_folder_that_the_file_names(tmp_path, converted):
    folder = write(tmp_path / "in", shape("rectangle", [[0, 0], [4, 4]]))
    save_image(tmp_path / "in/img/b.PNG", (HEIGHT, WIDTH))
    write(folder, shape("rectangle", [[0, 0], [4, 4]]), stem="b", imagePath="img\\b.png")
    (folder / "b.png").unlink()
    write(folder, shape("rectangle", [[0, 0], [4, 4]]), stem="c", imagePath="lost.png")
    (folder / "c.png").rename(folder / "c.jpg.bak")
    result = converted("labelme", folder=folder)
    assert sorted(result.images) == ["a.png", "b.PNG"]
    assert [item.reason for item in result.report.skipped] == ["its image 'lost.png' is not found"]


def test_a_json_of_another_kind_is_skipped_with_its_reason(tmp_path, converted):
    folder = write(tmp_path / "in", shape("rectangle", [[0, 0], [4, 4]]))
    (folder / "config.json").write_text("{}")
    result = converted("labelme", folder=folder)
    (item,) = result.report.skipped
    assert item.name == str(folder / "config.json")
    assert item.reason == "no labelme file (it has no list of shapes)"


@pytest.mark.parametrize(
    ("named", "found"),
    [
        # The name that the file says comes before its own, with its extension before without.
        ("b.png", "b.png"),
        ("b.JPG", "b.jpg"),
        ("b.bmp", "b.jpg"),
        ("d.bmp", "D.png"),
        ("lost.png", "own.tif"),
        (None, "own.tif"),
        ("", "own.tif"),
        # Beside the JSON before the folder that it names.
        ("img/b.png", "b.png"),
        ("img/C.png", "img/c.PNG"),
        ("..\\set\\img\\c.png", "../set/img/c.PNG"),
        ("absent/b.png", "b.png"),
        ("notes.txt", "own.tif"),
    ],
)
def test_the_image_of_a_file(tmp_path, named, found):
    for name in ("b.png", "b.jpg", "D.png", "own.tif", "img/b.png", "img/c.PNG", "notes.txt"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_image(str(tmp_path / "set/own.json"), named) == str(tmp_path / "set" / found)
    assert find_image(str(tmp_path / "set/other.json"), "lost.png") is None


def test_classes_are_sorted_and_inputs_are_the_file(tmp_path):
    corners = [[0, 0], [4, 4]]
    folder = write(
        tmp_path / "in",
        *(shape("rectangle", corners, n) for n in ("pit", "nut", "fig", "a", "oak")),
    )
    write(folder, shape("rectangle", corners, "leaf"), shape("point", [[1, 1]], 7), stem="b")
    opened = open_format("labelme", folder=str(folder), skip=("a",), ignore=("pit",))
    assert [(c.name, c.isthing) for c in opened.classes] == [
        (name, True) for name in ("fig", "leaf", "nut", "oak")
    ]
    assert opened.samples[0].inputs == (str(folder / "a.json"),)


@pytest.mark.parametrize(
    "fields", [{"imageHeight": None}, {"imageWidth": None}, {"imageHeight": None, "imageWidth": 0}]
)
def test_a_side_that_the_file_does_not_say_is_that_of_the_image(tmp_path, converted, fields):
    folder = write(tmp_path / "in", shape("rectangle", [[10, 5], [30, 15]]), **fields)
    np.testing.assert_array_equal(
        converted("labelme", folder=folder).labels("a.png") == "x", RECTANGLE
    )
    folder = write(tmp_path / "in", shape("rectangle", [[10, 5], [30, 15]]), imageWidth=61)
    with pytest.raises(ValueError, match="says that its image has 61x40 pixels, but it has 60x40"):
        converted("labelme", folder=folder)


def test_labels_that_are_void_lie_over_the_background(tmp_path, converted):
    folder = write(
        tmp_path / "in",
        shape("rectangle", [[0, 0], [10, 10]], "blur"),
        shape("rectangle", [[20, 0], [30, 10]], "nut"),
    )
    rules = Rules(background_class="table")
    result = converted("labelme", rules, folder=folder, ignore=("blur",))
    assert (result.labels("a.png")[:10, :10] == "").all()
    assert (result.labels("a.png") == "table").sum() == HEIGHT * WIDTH - 200


@pytest.mark.parametrize("kind", ["point", "points"])
def test_points_need_a_point(tmp_path, converted, kind):
    with pytest.raises(ValueError, match=f"0 points, a {kind} has 1 or more"):
        converted("labelme", folder=write(tmp_path / "in", shape(kind, [])))


def test_a_mask_needs_both_corners(tmp_path, converted):
    found = shape("mask", [[5, 5]], mask=encode(TRIANGLE))
    with pytest.raises(ValueError, match="1 points, a mask has 2 or more"):
        converted("labelme", folder=write(tmp_path / "in", found))


def test_what_is_skipped_is_told_without_its_name_twice(tmp_path):
    folder = write(tmp_path / "in", shape("rectangle", [[0, 0], [4, 4]]))
    (folder / "b.json").write_text("{")
    (item,) = open_format("labelme", folder=str(folder)).skipped
    assert item.name == str(folder / "b.json")
    assert item.reason.startswith("not valid JSON")


def test_shapes_without_label_are_named_by_their_place(tmp_path, converted):
    found = {"points": [[1, 1], [9, 1], [9, 9]], "label": 7}
    folder = write(tmp_path / "in", shape("rectangle", [[0, 0], [4, 4]]), found)
    with pytest.raises(ValueError, match=r"a\.json: shape 1 has no label; or skip it with --skip"):
        converted("labelme", folder=folder)
    result = converted("labelme", folder=folder, skip_bad_annotations=True)
    assert [s["area"] for s in result.segments("a.png")] == [16]
