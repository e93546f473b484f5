"""Semantic masks with the quirks that people's files have."""

import numpy as np
import pytest
from converted_sets import save_image, save_mask
from PIL import Image

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.semantic_png import to_class_map, value_labels
from detr_d2.conversion.rasterize import Rules

SIZE = (20, 30)


def test_semantic_png_with_zero_as_a_class_and_void(tmp_path, converted):
    """Palette PNG, upper-case extension, image in a subfolder; 8 neighbours make one car."""
    values = np.zeros(SIZE, np.uint8)
    values[2:6, 2:6] = 8
    values[6:9, 6:9] = 8  # touches the first only at a corner
    values[15:18, 20:24] = 8
    values[:, 29] = 11
    values[19, 0] = 8  # a speck
    save_image(tmp_path / "images/day/a.JPG", SIZE, format="JPEG")
    mask = Image.fromarray(values)
    mask.putpalette([v for i in range(256) for v in (255 - i, i, 7)])
    (tmp_path / "masks").mkdir()
    mask.save(tmp_path / "masks/a.PNG")

    result = converted(
        "semantic-png",
        images=str(tmp_path / "images"),
        masks=str(tmp_path / "masks"),
        values="0=sky, 8=car",
        void=(11,),
        things=("car",),
    )

    found = [
        (result.names[s["category_id"]], s["area"], s["bbox"]) for s in result.segments("day/a.JPG")
    ]
    assert sorted(found) == [
        ("car", 12, [20, 15, 4, 3]),
        ("car", 25, [2, 2, 7, 7]),
        ("sky", 20 * 29 - 12 - 25 - 1, [0, 0, 29, 20]),
    ]
    assert (result.ids("day/a.JPG")[:, 29] == 0).all()


def test_an_undeclared_value_is_named_and_the_image_skipped(tmp_path, converted):
    for name, value in (("good", 1), ("bad", 7)):
        save_image(tmp_path / f"images/{name}.jpg", SIZE)
        save_mask(tmp_path / f"masks/{name}.png", np.full(SIZE, value, np.uint8))
    result = converted(
        "semantic-png",
        images=str(tmp_path / "images"),
        masks=str(tmp_path / "masks"),
        values="1=grass",
    )
    assert list(result.images) == ["good.jpg"]
    (skipped,) = result.report.skipped
    assert "bad.png: pixel values 7 are no declared class" in skipped.reason
    assert not (result.folder / "panoptic/bad.png").exists()


def test_classes_in_colours_of_which_one_is_grey(tmp_path, converted):
    """The first image shows nothing but the grey class."""
    for name in ("a", "b"):
        colors = np.full((*SIZE, 3), 128, np.uint8)
        if name == "b":
            colors[:, 10:] = 0, 128, 255
        save_image(tmp_path / f"images/{name}.jpg", SIZE)
        save_mask(tmp_path / f"masks/{name}.png", colors)
    result = converted(
        "semantic-png",
        images=str(tmp_path / "images"),
        masks=str(tmp_path / "masks"),
        values="#808080=road,#0080ff=sky",
    )
    assert (result.labels("a.jpg") == "road").all()
    assert (result.labels("b.jpg")[:, 10:] == "sky").all()


def test_values_of_16_bits_are_no_colours(tmp_path, converted):
    values = np.full(SIZE, 300, np.uint16)
    values[:, 10:] = 65535
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_mask(tmp_path / "masks/a.png", values)
    options = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    result = converted("semantic-png", **options, values="300=road,65535=sky")
    assert (result.labels("a.jpg")[:, :10] == "road").all()
    assert (result.labels("a.jpg")[:, 10:] == "sky").all()


def test_a_jpeg_of_classes_is_refused_unless_the_nearest_is_wanted(tmp_path, converted):
    values = np.full(SIZE, 200, np.uint8)
    values[:, 15:] = 90
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_mask(tmp_path / "masks/a.jpg", values, quality=60)
    options = {
        "images": str(tmp_path / "images"),
        "masks": str(tmp_path / "masks"),
        "values": "90=road,200=sky",
    }
    with pytest.raises(ValueError, match=r"a\.jpg: JPEG changes the values"):
        converted("semantic-png", **options)
    labels = converted("semantic-png", nearest=True, **options).labels("a.jpg")
    assert (labels[:, :14] == "sky").all()
    assert (labels[:, 16:] == "road").all()


def test_nearest_takes_edges_but_no_area_of_another_colour(tmp_path, converted):
    colors = np.full((*SIZE, 3), (220, 20, 60), np.uint8)
    colors[:, 15:] = 128, 64, 128
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_mask(tmp_path / "masks/a.jpg", colors, quality=80)
    options = {
        "images": str(tmp_path / "images"),
        "masks": str(tmp_path / "masks"),
        "values": "#dc143c=pedestrian,#804080=road",
        "nearest": True,
    }
    labels = converted("semantic-png", **options).labels("a.jpg")
    assert (labels[:, :13] == "pedestrian").all()
    assert (labels[:, 17:] == "road").all()

    colors[:8, :8] = 0
    save_mask(tmp_path / "masks/a.jpg", colors, quality=95)
    with pytest.raises(
        ValueError, match=r"a\.jpg: pixel value #0\w0\w0\w is no declared class.*#dc143c"
    ):
        converted("semantic-png", **options)
    result = converted("semantic-png", **options, background=(0,))
    assert (result.labels("a.jpg")[:6, :6] == "").all()


def test_undeclared_colours_are_named_as_they_were_given(tmp_path, converted):
    colors = np.full((*SIZE, 3), (220, 20, 60), np.uint8)
    colors[0, 0] = 1, 2, 3
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_mask(tmp_path / "masks/a.png", colors)
    with pytest.raises(ValueError, match=r"pixel values #010203 are no declared.*: #dc143c"):
        converted(
            "semantic-png",
            images=str(tmp_path / "images"),
            masks=str(tmp_path / "masks"),
            values="#dc143c=pedestrian",
        )


COLORS = {0: 0, 100: 1, 200: 2}


@pytest.mark.parametrize(
    ("value", "label"), [(0, 0), (39, 0), (40, 0), (60, 1), (50, 0), (140, 1), (150, 1), (240, 2)]
)
def test_the_nearest_value_is_taken_up_to_a_distance_of_40(value, label):
    """On an edge, one pixel wide, at any distance; of two as near the lower."""
    edge = np.full((9, 9), 100)
    edge[:, 4] = value
    found = to_class_map(edge, COLORS, "x", nearest=True)
    assert set(found[:, 4].tolist()) == {label}
    area = np.full((9, 9), value)
    if min(abs(value - known) for known in COLORS) <= 40:
        assert (to_class_map(area, COLORS, "x", nearest=True) == label).all()
        return
    with pytest.raises(
        ValueError, match=rf"x: pixel value {value} is no .* and 50 from the nearest"
    ):
        to_class_map(area, COLORS, "x", nearest=True)


@pytest.mark.parametrize(("width", "is_area"), [(4, False), (5, True)])
def test_an_area_is_five_pixels_wide(width, is_area):
    values = np.full((12, 20), 100)
    values[:, 3 : 3 + width] = 150
    if not is_area:
        assert (to_class_map(values, COLORS, "x", nearest=True) == 1).all()
        return
    with pytest.raises(ValueError, match="x: pixel value 150 is no declared class"):
        to_class_map(values, COLORS, "x", nearest=True)


def test_of_several_areas_the_largest_is_named():
    values = np.full((12, 40), 100)
    values[:, 2:8], values[:, 12:30] = 50, 250
    with pytest.raises(
        ValueError, match=r"pixel value 250 is .* 50 from the nearest one, more than 40"
    ):
        to_class_map(values, COLORS, "x", nearest=True)


def test_colours_are_as_far_apart_as_in_space():
    """Of red and dark red, by all three channels; 24, 24 and 24 are 41.6 together."""
    red, dark = 255, 100
    labels = {red: 1, dark + 256 * 60 + 65536 * 60: 2}
    near = np.full((9, 9), 231 + 256 * 23 + 65536 * 22)
    assert (to_class_map(near, labels, "x", nearest=True) == 1).all()
    far = np.full((9, 9), 231 + 256 * 24 + 65536 * 24)
    with pytest.raises(ValueError, match=r"pixel value #e71818 is .* and 42 from the nearest one"):
        to_class_map(far, labels, "x", nearest=True)


def test_of_many_values_eight_and_of_many_classes_forty_are_named():
    values = np.arange(100, 120).reshape(4, 5)
    labels = dict.fromkeys(range(50, 0, -1), 1)
    with pytest.raises(ValueError, match="x: pixel values") as caught:
        to_class_map(values, labels, "x")
    shown = ", ".join(map(str, range(100, 108)))
    declared = ", ".join(map(str, range(1, 41)))
    assert str(caught.value) == (
        f"x: pixel values {shown} are no declared class, void or background; declared: {declared}"
    )


@pytest.mark.parametrize(
    ("void", "background", "zero"),
    [((), None, 0), ((0,), None, -1), ((), (), None), ((), (0, 9), 0), ((9,), None, 0)],
)
def test_what_0_means(void, background, zero):
    classes = [SourceClass(5, "nut", True), SourceClass(7, "pit", True)]
    labels = value_labels(classes, void, background)
    assert (labels.get(0), labels[5], labels[7]) == (zero, 1, 2)
    assert value_labels([SourceClass(0, "sky", False)], (), None) == {0: 1}


def test_background_is_no_void(tmp_path, converted):
    """Only what is not labelled becomes the background class."""
    values = np.full(SIZE, 3, np.uint8)
    values[:4], values[4:6] = 0, 9
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_image(tmp_path / "images/b.jpg", SIZE)
    save_mask(tmp_path / "masks/a.png", values)
    folders = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    options = {**folders, "values": "3=nut", "background": (0,), "void": (9,)}
    rules = Rules(background_class="table")
    result = converted("semantic-png", rules, **options, keep_unlabelled=True)
    areas = {result.names[s["category_id"]]: s["area"] for s in result.segments("a.jpg")}
    assert areas == {"nut": 14 * 30, "table": 4 * 30}
    # An image without mask is one without objects.
    assert [s["area"] for s in result.segments("b.jpg")] == [600]
    with pytest.raises(ValueError, match="pixel values 0 are no declared class"):
        converted("semantic-png", **{**options, "background": ()})


@pytest.mark.parametrize(("values", "found"), [((), r"\[\]"), ("nut,pit", r"\['nut', 'pit'\]")])
def test_classes_need_values(tmp_path, values, found):
    folders = {"images": str(tmp_path), "masks": str(tmp_path)}
    with pytest.raises(ValueError, match=f"semantic-png: classes need pixel .*; found {found}"):
        open_format("semantic-png", **folders, values=values)
