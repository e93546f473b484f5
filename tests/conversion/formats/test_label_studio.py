"""Label Studio: polygons, and what is rejected."""

import re

import numpy as np
import pytest
from annotation_files import BOX, CORNERS, HEIGHT, SIZE, WIDTH, only, write
from converted_sets import save_image

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.brush import decode_brush
from detr_d2.conversion.rasterize import Rules

ALL = Rules(min_area=0)


def studio_task(*results, annotations: int = 1, **marks) -> dict:
    annotation = {"result": list(results), "was_cancelled": False, **marks}
    listed = [annotation] + [{"result": []}] * (annotations - 1)
    return {"id": 3, "data": {"image": "/data/local-files/?d=up/a.png"}, "annotations": listed}


def studio_result(kind: str, value: dict, **more) -> dict:
    sizes = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": "r1", "type": kind, "value": value, **sizes, **more}


PERCENT = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in CORNERS]


NUT = studio_result("polygonlabels", {"points": PERCENT, "polygonlabels": ["nut"]})


CHOICE = {"id": "c", "type": "choices", "value": {"choices": ["good"]}}


def test_label_studio_polygons(tmp_path, converted):
    save_image(tmp_path / "images/up/a.png", SIZE)
    images = str(tmp_path / "images")
    split = [
        studio_result("polygon", {"points": PERCENT}),
        studio_result("labels", {"points": PERCENT, "labels": ["nut"]}),
    ]
    for task in (
        studio_task(NUT, CHOICE),
        studio_task(*split),
        studio_task(NUT, annotations=2, ground_truth=True),
    ):
        path = write(tmp_path / "x.json", [task])
        result = converted("label-studio", ALL, annotations=path, images=images)
        np.testing.assert_array_equal(only(result, "up/a.png", "nut"), BOX)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (studio_task(NUT, annotations=2), "its task has 2 annotations; mark one as ground truth"),
        (studio_task(NUT, was_cancelled=True), "its task has no annotation"),
        (studio_task({**NUT, "image_rotation": 90}), "drawn on an image turned by 90"),
        (studio_task({**NUT, "original_width": 7}), "7x20 pixels, but it has 30x20"),
        (
            studio_task(NUT, studio_result("polygonlabels", {"points": PERCENT}, id="r2")),
            "has labels None",
        ),
        (
            studio_task(studio_result("rectanglelabels", {"rectanglelabels": ["nut"]})),
            "only a box; a mask is needed",
        ),
        (
            studio_task(studio_result("polygonlabels", {"points": 5, "polygonlabels": ["nut"]})),
            "points are no list of x, y",
        ),
        (
            studio_task(
                studio_result(
                    "brushlabels", {"format": "rle", "rle": [0, 0, 0, 9], "brushlabels": ["nut"]}
                )
            ),
            "RLE ends before its image is full",
        ),
        (
            studio_task(
                studio_result(
                    "brushlabels", {"format": "rle", "rle": [255] * 8, "brushlabels": ["nut"]}
                )
            ),
            "RLE of 4294967295 values of 32 bits, its image of 30x20 has 2400 of 8",
        ),
    ],
)
def test_bad_tasks_of_label_studio_are_named(tmp_path, converted, task, message):
    save_image(tmp_path / "images/up/a.png", SIZE)
    path = write(tmp_path / "x.json", [task])
    with pytest.raises(ValueError, match=message):
        converted("label-studio", annotations=path, images=str(tmp_path / "images"))


HUGE = 10**400


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("polygonlabels", {"points": [[HUGE, 1], [5, 5], [1, 5]]}),
        ("ellipselabels", {"x": 5, "y": 5, "radiusX": HUGE, "radiusY": 2}),
        ("ellipselabels", {"x": 5, "y": 5, "radiusX": 2, "radiusY": 2, "rotation": HUGE}),
    ],
    ids=["corner", "radius", "angle"],
)
def test_numbers_of_400_digits_are_named(tmp_path, converted, kind, value):
    save_image(tmp_path / "images/up/a.png", SIZE)
    path = write(tmp_path / "x.json", [studio_task(studio_result(kind, {**value, kind: ["nut"]}))])
    with pytest.raises(ValueError, match=r"x\.json: up/a\.png: shape 0 \(nut\): a number beyond"):
        converted("label-studio", annotations=path, images=str(tmp_path / "images"))


def test_a_url_that_is_none_is_named(tmp_path, converted):
    save_image(tmp_path / "images/up/a.png", SIZE)
    images = str(tmp_path / "images")
    task = {**studio_task(NUT), "data": {"image": "http://["}}
    path = write(tmp_path / "x.json", [studio_task(NUT), task])
    with pytest.raises(
        ValueError, match=r"x\.json: task 3: say which key of its data is the image"
    ):
        converted("label-studio", annotations=path, images=images)
    result = converted("label-studio", annotations=path, images=images, image_key="image")
    (skipped,) = result.report.skipped
    assert (skipped.name, skipped.reason) == ("http://[", f"image not found below {images}")
    assert list(result.images) == ["up/a.png"]


@pytest.mark.parametrize(
    ("url", "images", "found"),
    [
        ("/data/upload/3/0a1b2c3d-my%20nut.png", ["my nut.png"], "my nut.png"),
        ("/data/upload/3/0a1b2c3d-a.png", ["0a1b2c3d-a.png", "a.png"], "0a1b2c3d-a.png"),
        ("https://x.org/up/a.png?sig=b.jpg", ["up/a.png", "b.jpg"], "up/a.png"),
        ("/data/local-files/?d=up%2Fa.png", ["up/a.png", "other/a.png"], "up/a.png"),
        # Seven digits and a name of nothing but the prefix are names like others.
        ("a1b2c3d-a.png", ["a.png"], None),
        ("s3://bucket/A.PNG", ["deep/a.png"], "deep/a.png"),
    ],
)
def test_the_image_of_a_task(tmp_path, url, images, found):
    for name in images:
        save_image(tmp_path / "images" / name, SIZE)
    task = {**studio_task(NUT), "data": {"image": url, "note": "a text", "number": 3}}
    path = write(tmp_path / "x.json", [task])
    opened = open_format("label-studio", annotations=path, images=str(tmp_path / "images"))
    assert [sample.name for sample in opened.samples] == [found] * (found is not None)


def test_a_task_with_two_images_is_read_by_its_key(tmp_path):
    save_image(tmp_path / "images/a.png", SIZE)
    save_image(tmp_path / "images/b.JPG", SIZE, format="JPEG")
    task = {**studio_task(NUT), "data": {"left": "/a.png", "right": "/b.JPG", "id": "x"}}
    options = {"annotations": write(tmp_path / "x.json", [task])}
    options |= {"images": str(tmp_path / "images")}
    with pytest.raises(ValueError, match=r"task 3: .*\(--image-key\): \['id', 'left', 'right'\]"):
        open_format("label-studio", **options)
    (sample,) = open_format("label-studio", **options, image_key="right").samples
    assert sample.name == "b.JPG"
    with pytest.raises(ValueError, match="say which key of its data is the image"):
        open_format("label-studio", **options, image_key="middle")


ANNOTATION = {"result": [NUT], "was_cancelled": False}


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ([ANNOTATION], None),
        ([{**ANNOTATION, "was_cancelled": True}, ANNOTATION], None),
        ([ANNOTATION, 5, {"result": None}], None),
        ([{"result": []}, {**ANNOTATION, "ground_truth": True}], None),
        ([], "its task has no annotation"),
        (
            [{**ANNOTATION, "was_cancelled": True, "ground_truth": True}],
            "its task has no annotation",
        ),
        ([ANNOTATION] * 3, "its task has 3 annotations; mark one as ground truth"),
        (
            [{**ANNOTATION, "ground_truth": True}] * 2,
            "its task has 2 annotations; mark one as ground truth",
        ),
    ],
)
def test_the_annotation_that_counts(tmp_path, annotations, reason):
    save_image(tmp_path / "images/up/a.png", SIZE)
    path = write(tmp_path / "x.json", [{**studio_task(), "annotations": annotations}])
    opened = open_format("label-studio", annotations=path, images=str(tmp_path / "images"))
    if reason is None:
        assert [len(sample.source[1]) for sample in opened.samples] == [1]
    else:
        assert [(i.name, i.reason) for i in opened.skipped] == [("up/a.png", reason)]


@pytest.mark.parametrize(
    ("more", "box"),
    [({}, [9, 8, 12, 4]), ({"rotation": 90}, [13, 4, 4, 12]), ({"rotation": 0}, [9, 8, 12, 4])],
)
def test_ellipses_of_label_studio(tmp_path, converted, more, box):
    """The radii are percent of the width and of the height."""
    value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "ellipselabels": ["nut"], **more}
    save_image(tmp_path / "images/up/a.png", SIZE)
    path = write(tmp_path / "x.json", [studio_task(studio_result("ellipselabels", value))])
    options = {"annotations": path, "images": str(tmp_path / "images")}
    assert [s["bbox"] for s in converted("label-studio", ALL, **options).segments("up/a.png")] == [
        box
    ]


ELLIPSE = {"x": 5, "y": 5, "radiusX": 2, "radiusY": 2}


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("ellipselabels", {**ELLIPSE, "rotation": None}, "needs x, y, radiusX, radiusY and rotat"),
        ("ellipselabels", {**ELLIPSE, "radiusX": "2"}, "needs x, y, radiusX, radiusY and rotation"),
        ("polygonlabels", {"points": [[1, 2, 3]] * 3}, "points are no list of x, y"),
        ("polygonlabels", {"points": [[1, 2], [5, 5]]}, "2 points, a polygon has 3 or more"),
        ("brushlabels", {"rle": [0]}, "brush without format rle"),
        ("keypointlabels", {}, "a keypoint has no area"),
        ("vectorlabels", {}, "a vector has no area"),
        ("magiclabels", {}, "magic is unknown"),
    ],
)
def test_results_without_area_are_named(tmp_path, converted, kind, value, message):
    save_image(tmp_path / "images/up/a.png", SIZE)
    path = write(tmp_path / "x.json", [studio_task(studio_result(kind, {**value, kind: ["nut"]}))])
    with pytest.raises(ValueError, match=rf"x\.json: up/a\.png: shape 0 \(nut\): {message}"):
        converted("label-studio", annotations=path, images=str(tmp_path / "images"))


@pytest.mark.parametrize("labels", [[], ["nut", "leaf"], "nut", [7], None])
def test_a_region_has_one_label(tmp_path, converted, labels):
    save_image(tmp_path / "images/up/a.png", SIZE)
    bad = studio_result("polygonlabels", {"points": PERCENT, "polygonlabels": labels}, id="r2")
    path = write(tmp_path / "x.json", [studio_task(NUT, bad)])
    options = {"annotations": path, "images": str(tmp_path / "images")}
    with pytest.raises(ValueError, match=re.escape(f"shape 1 has labels {labels!r}; must be one")):
        converted("label-studio", **options)


@pytest.mark.parametrize(
    "kind", ["choices", "taxonomy", "rating", "textarea", "number", "relation"]
)
def test_results_about_the_whole_image_are_no_regions(tmp_path, kind):
    save_image(tmp_path / "images/up/a.png", SIZE)
    path = write(tmp_path / "x.json", [studio_task({"id": "c", "type": kind, "value": {}}, NUT, 5)])
    opened = open_format("label-studio", annotations=path, images=str(tmp_path / "images"))
    (sample,) = opened.samples
    assert [shape["kind"] for shape in sample.source[1]] == ["polygon", "?"]
    assert sample.source[0] == (HEIGHT, WIDTH)


def packed(*bits: tuple[int, int]) -> list[int]:
    """Bytes of numbers, each in so many bits."""
    text = "".join(f"{number:0{count}b}" for number, count in bits)
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def header(count: int, word: int = 8) -> list[tuple[int, int]]:
    """So many values; the first of four lengths has 4 bits, the others 16."""
    return [(count, 32), (word - 1, 5), (3, 4), (15, 4), (15, 4), (15, 4)]


def test_a_brush_is_the_alpha_channel_from_128():
    """2 pixels in 1 row, as 8 values: red 255 and alpha 128, then red 255 and alpha 127."""
    values = [255, 0, 0, 128, 255, 0, 0, 127]
    each = [(0, 1), (0, 2), (7, 4), *((value, 8) for value in values)]
    assert decode_brush(packed(*header(8), *each), (1, 2), "x").tolist() == [[True, False]]
    run = [(1, 1), (0, 2), (7, 4), (128, 8)]
    assert decode_brush(packed(*header(8), *run), (2, 1), "x").tolist() == [[True], [True]]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (packed(*header(8), (1, 1), (0, 2), (8, 4), (9, 8)), "x: RLE has more values than its im"),
        (packed(*header(12)), "x: RLE of 12 values of 8 bits, its image of 2x1 has 8 of 8"),
        (packed(*header(8, word=7)), "x: RLE of 8 values of 7 bits, its image of 2x1 has 8 of 8"),
        (packed(*header(8))[:5], "x: RLE ends before its image is full"),
        ([256], "x: RLE is no list of bytes"),
        ([-1], "x: RLE is no list of bytes"),
        ([1.5], "x: RLE is no list of bytes"),
        ([], "x: RLE is no list of bytes"),
        ("abc", "x: RLE is no list of bytes"),
        ([[1]], "x: RLE is no list of bytes"),
    ],
)
def test_bad_codes_of_brushes_are_named(code, message):
    with pytest.raises(ValueError, match=message):
        decode_brush(code, (1, 2), "x")
