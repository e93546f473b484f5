"""Label Studio: polygons, and what is rejected."""

import numpy as np
import pytest
from annotation_files import BOX, CORNERS, HEIGHT, SIZE, WIDTH, only, write
from converted_sets import save_image

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
