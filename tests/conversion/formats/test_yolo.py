"""YOLO segmentation: text files with polygons as parts of the image's sides."""

from pathlib import Path

import numpy as np
import pytest
from converted_sets import save_image
from PIL import Image

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.yolo import parse_line
from detr_d2.conversion.rasterize import Rules
from detr_d2.ops.coco_instances import outlines

SIZE = (20, 30)


def write_labels(path: Path, ids: np.ndarray, classes: dict[int, int]) -> None:
    """An id map whose segments have one outline each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, key in classes.items():
        (outline,) = outlines(ids == number)
        corners = np.reshape(outline, (-1, 2)) / ids.shape[::-1]
        lines.append(" ".join([str(key), *(f"{side:.6f}" for side in corners.ravel())]))
    path.write_text("\n".join(lines) + "\n")


def yolo(root: Path, classes: str = "0=nut, 1=leaf", **options) -> dict:
    folders = {"images": str(root / "images"), "masks": str(root / "labels")}
    return {"values": classes, **folders, **options}


def test_there_and_back(tmp_path, converted):
    ids = np.zeros(SIZE, np.int32)
    ids[2:9, 3:8], ids[4:6, 8:12] = 1, 1  # an L
    ids[12:20, 22:30] = 2  # in the corner
    ids[11, 0] = 3  # one pixel
    save_image(tmp_path / "images/train/a.JPG", SIZE, format="JPEG")
    write_labels(tmp_path / "labels/train/a.txt", ids, {1: 1, 2: 0, 3: 1})

    result = converted("yolo", Rules(order="annotation"), **yolo(tmp_path))

    assert result.masks("train/a.JPG") == sorted(
        [("leaf", (ids == 1).tobytes()), ("nut", (ids == 2).tobytes()),
         ("leaf", (ids == 3).tobytes())]
    )  # fmt: skip
    assert {c["name"]: c["isthing"] for c in result.content["categories"]} == {"nut": 1, "leaf": 1}
    assert result.report.skipped == []


def test_small_lies_over_large_and_the_rest_is_named(tmp_path, converted):
    save_image(tmp_path / "images/a.png", SIZE)
    (tmp_path / "labels").mkdir()
    square = "0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6"  # 6 x 4 pixels
    half = "0 0 1 0 1 0.5 0 0.5"  # 30 x 10
    (tmp_path / "labels/a.txt").write_text(f"0 {square}\n\n1 {half}\n")
    result = converted("yolo", Rules(background_class="ground"), **yolo(tmp_path))
    areas = {result.names[s["category_id"]]: s["area"] for s in result.segments("a.png")}
    # The upper two rows of the square lie over the half.
    assert areas == {"nut": 24, "leaf": 300 - 12, "ground": 600 - 300 - 12}


def test_images_turned_by_exif(tmp_path, converted):
    """Stored 20 rows x 30 columns, shown turned right: 30 rows x 20 columns."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save_image(tmp_path / "images/a.jpg", SIZE, exif=exif)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0 0 1 0 1 0.1 0 0.1")  # a strip along the top
    upright = converted("yolo", **yolo(tmp_path))
    assert upright.segments("a.jpg")[0]["bbox"] == [0, 0, 20, 3]
    stored = converted("yolo", **yolo(tmp_path, exif="stored"))
    assert stored.segments("a.jpg")[0]["bbox"] == [18, 0, 2, 30]


def test_absent_files_are_told_and_empty_ones_mean_nothing(tmp_path, converted):
    for name in ("a", "b", "c"):
        save_image(tmp_path / f"images/{name}.png", SIZE)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("")
    outside = "1 -0.3 0 -0.1 0 -0.1 0.5"
    (tmp_path / "labels/b.txt").write_text(f"{outside}\n0 0 0 1 0 1 1\n")
    (tmp_path / "labels/d.txt").write_text("0 0 0 1 0 1 1\n")
    result = converted("yolo", **yolo(tmp_path))
    assert result.segments("a.png") == []
    assert len(result.segments("b.png")) == 1
    told = {Path(item.name).name: item.reason for item in result.report.skipped}
    assert sorted(told) == ["c.png", "d.txt"]
    kept = converted("yolo", **yolo(tmp_path, keep_unlabelled=True))
    assert kept.segments("c.png") == []


def test_labels_beside_their_images(tmp_path, converted):
    save_image(tmp_path / "images/a.png", SIZE)
    (tmp_path / "images/a.txt").write_text("1 0 0 1 0 1 1\n")
    result = converted("yolo", **yolo(tmp_path, masks=str(tmp_path / "images")))
    assert len(result.segments("a.png")) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", "only a box; a polygon is needed"),
        ("0 0.1 0.1 0.9 0.1 0.9", "5 coordinates; must be x and y of 3 or more"),
        ("0 0 0 1 0 1 1 0.5", "7 coordinates; must be x and y of 3 or more"),
        ("0 12 3 40 3 40 30", "coordinate 12.0; must be a fraction"),
        ("0 nan 0 1 0 1 1", "coordinate nan; must be a fraction"),
        ("nut 0 0 1 0 1 1", "could not convert string to float: 'nut'"),
        ("0.5 0 0 1 0 1 1", "class 0.5; must be a whole number"),
        ("inf 0 0 1 0 1 1", "class inf; must be a whole number"),
        ("7 0 0 1 0 1 1", "class 7 is not declared"),
    ],
)
def test_a_bad_line_is_named_and_its_image_skipped(tmp_path, converted, line, message):
    for name in ("a", "b"):
        save_image(tmp_path / f"images/{name}.png", SIZE)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0 0 1 0 1 1\n" + line)
    (tmp_path / "labels/b.txt").write_text("0 0 0 1 0 1 1\n")
    (item,) = converted("yolo", **yolo(tmp_path)).report.skipped
    assert item.name == "a.png"
    assert f"a.txt: line 2: {message}" in item.reason


def test_a_file_that_is_no_text_is_named(tmp_path, converted):
    save_image(tmp_path / "images/a.png", SIZE)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ValueError, match=r"a\.txt: not readable as text"):
        converted("yolo", **yolo(tmp_path))


def test_a_polygon_may_reach_a_little_outside():
    key, corners = parse_line("3 -0.01 0 1.02 0 1 1", "x")
    assert key == 3
    np.testing.assert_array_equal(corners, [(-0.01, 0), (1.02, 0), (1, 1)])


@pytest.mark.parametrize("names", ["[nut, leaf]", "{0: nut, 1: leaf}"])
def test_classes_of_a_data_yaml(tmp_path, names):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text(f"path: .\ntrain: images\nnames: {names}\n")
    annotation_format = open_format(
        "yolo", **yolo(tmp_path, str(tmp_path / "data.yaml"), stuff=("leaf",))
    )
    assert [(c.key, c.name, c.isthing) for c in annotation_format.classes] == [
        (0, "nut", True),
        (1, "leaf", False),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [", "line 1: not valid YAML"),
        ("nc: 2", "no names of classes"),
        ("names: {a: b}", "no names"),
    ],
)
def test_a_data_yaml_without_classes_is_refused(tmp_path, text, message):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"data\.yaml: {message}"):
        open_format("yolo", **yolo(tmp_path, str(tmp_path / "data.yaml")))


@pytest.mark.parametrize("classes", ["nut,leaf", ()])
def test_classes_need_numbers(tmp_path, classes):
    with pytest.raises(ValueError, match="yolo: classes need numbers"):
        open_format("yolo", **yolo(tmp_path, classes))


@pytest.mark.parametrize(
    ("side", "sound"),
    [("-0.5", True), ("1.5", True), ("-0.51", False), ("1.51", False), ("-3", False)],
)
@pytest.mark.parametrize("line", ["0 {} 0 1 0 1 1", "0 0 0 1 0 1 {}"])
def test_how_far_a_polygon_may_reach_outside(side, sound, line):
    if sound:
        assert parse_line(line.format(side), "x")[1].size == 6
        return
    with pytest.raises(ValueError, match=f"^x: coordinate {float(side)}; must be a fraction, 0..1"):
        parse_line(line.format(side), "x")


def test_two_text_files_of_one_image_are_refused(tmp_path):
    save_image(tmp_path / "images/a.png", SIZE)
    for name in ("new/a.txt", "old/a.txt"):
        path = tmp_path / "labels" / name
        path.parent.mkdir(parents=True)
        path.write_text("0 0 0 1 0 1 1\n")
    with pytest.raises(ValueError, match=r"a\.png: several masks, .*new/a\.txt.*old/a\.txt"):
        open_format("yolo", **yolo(tmp_path, pattern="*/{image}"))
