"""Semantic masks with the quirks that people's files have."""

import numpy as np
import pytest
from converted_sets import save_image, save_mask
from PIL import Image

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
