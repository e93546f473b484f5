"""Binary and semantic masks with the quirks that people's files have."""

import numpy as np
import pytest
from converted_sets import save_mask, save_photo
from PIL import Image

from detr_d2.data.convert import Rules
from detr_d2.data.forms import open_form

SIZE = (20, 30)


def test_semantic_png_with_zero_as_a_class_and_void(tmp_path, converted):
    """Palette PNG, upper-case extension, photo in a subfolder; 8 neighbours make one car."""
    values = np.zeros(SIZE, np.uint8)
    values[2:6, 2:6] = 8
    values[6:9, 6:9] = 8  # touches the first only at a corner
    values[15:18, 20:24] = 8
    values[:, 29] = 11
    values[19, 0] = 8  # a speck
    save_photo(tmp_path / "photos/day/a.JPG", SIZE, format="JPEG")
    mask = Image.fromarray(values)
    mask.putpalette([v for i in range(256) for v in (255 - i, i, 7)])
    (tmp_path / "masks").mkdir()
    mask.save(tmp_path / "masks/a.PNG")

    result = converted(
        "semantic-png",
        images=str(tmp_path / "photos"),
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


def test_an_undeclared_value_is_named_and_the_photo_left_out(tmp_path, converted):
    for name, value in (("good", 1), ("bad", 7)):
        save_photo(tmp_path / f"photos/{name}.jpg", SIZE)
        save_mask(tmp_path / f"masks/{name}.png", np.full(SIZE, value, np.uint8))
    result = converted(
        "semantic-png",
        images=str(tmp_path / "photos"),
        masks=str(tmp_path / "masks"),
        values="1=grass",
    )
    assert list(result.images) == ["good.jpg"]
    (left_out,) = result.report.left_out
    assert "bad.png: pixel values 7 are no declared class" in left_out.reason
    assert not (result.folder / "panoptic/bad.png").exists()


def test_classes_in_colours_of_which_one_is_grey(tmp_path, converted):
    """The first photo shows nothing but the grey class."""
    for name in ("a", "b"):
        colors = np.full((*SIZE, 3), 128, np.uint8)
        if name == "b":
            colors[:, 10:] = 0, 128, 255
        save_photo(tmp_path / f"photos/{name}.jpg", SIZE)
        save_mask(tmp_path / f"masks/{name}.png", colors)
    result = converted(
        "semantic-png",
        images=str(tmp_path / "photos"),
        masks=str(tmp_path / "masks"),
        values="#808080=road,#0080ff=sky",
    )
    assert (result.labels("a.jpg") == "road").all()
    assert (result.labels("b.jpg")[:, 10:] == "sky").all()


def test_a_jpeg_of_classes_is_refused_unless_the_nearest_is_wanted(tmp_path, converted):
    values = np.full(SIZE, 200, np.uint8)
    values[:, 15:] = 90
    save_photo(tmp_path / "photos/a.jpg", SIZE)
    save_mask(tmp_path / "masks/a.jpg", values, quality=60)
    options = {
        "images": str(tmp_path / "photos"),
        "masks": str(tmp_path / "masks"),
        "values": "90=road,200=sky",
    }
    with pytest.raises(ValueError, match=r"a\.jpg: JPEG changes the values"):
        converted("semantic-png", **options)
    labels = converted("semantic-png", nearest=True, **options).labels("a.jpg")
    assert (labels[:, :14] == "sky").all()
    assert (labels[:, 16:] == "road").all()


@pytest.mark.parametrize(
    ("high", "kind", "extension"),
    [
        (1, np.uint8, "png"),
        (255, np.uint8, "png"),
        (65535, np.uint16, "png"),
        (255, np.uint8, "jpg"),
    ],
)
def test_binary_masks_of_any_range(tmp_path, converted, high, kind, extension):
    inside = np.zeros(SIZE, bool)
    inside[5:12, 8:20] = True
    save_photo(tmp_path / "photos/a.jpg", SIZE)
    save_mask(tmp_path / f"masks/a_mask.{extension}", (inside * high).astype(kind))
    result = converted(
        "binary-masks",
        images=str(tmp_path / "photos"),
        masks=str(tmp_path / "masks"),
        pattern="{photo}_mask",
        label="crack",
    )
    assert ((result.labels("a.jpg") == "crack") == inside).mean() > 0.98
    if extension == "png":
        assert result.segments("a.jpg")[0]["bbox"] == [8, 5, 12, 7]


def test_low_values_are_no_foreground_but_never_guessed(tmp_path, converted):
    """255 is the crack and 3 the area it encloses; 3 alone could be anything."""
    save_photo(tmp_path / "photos/a.jpg", SIZE)
    values = np.zeros(SIZE, np.uint8)
    values[:, 3], values[:, 4:9] = 255, 3
    save_mask(tmp_path / "masks/a.png", values)
    options = {"images": str(tmp_path / "photos"), "masks": str(tmp_path / "masks")}
    result = converted("binary-masks", label="crack", **options)
    assert result.segments("a.jpg")[0]["area"] == 20
    save_mask(tmp_path / "masks/a.png", np.minimum(values, 3))
    with pytest.raises(ValueError, match=r"a\.png: values up to 3.*--foreground"):
        converted("binary-masks", label="crack", **options)
    result = converted("binary-masks", label="crack", foreground=3, **options)
    assert result.segments("a.jpg")[0]["area"] == 120


def test_masks_of_another_size_are_refused_or_scaled(tmp_path, converted):
    save_photo(tmp_path / "photos/a.jpg", SIZE)
    half = np.zeros((10, 15), np.uint8)
    half[:5] = 255
    save_mask(tmp_path / "masks/a.png", half)
    options = {"images": str(tmp_path / "photos"), "masks": str(tmp_path / "masks")}
    with pytest.raises(
        ValueError, match=r"a\.png: 15x10 pixels, but its photo has 30x20.*--resize"
    ):
        converted("binary-masks", label="sky", **options)
    result = converted("binary-masks", label="sky", resize=True, **options)
    assert result.segments("a.jpg")[0]["bbox"] == [0, 0, 30, 10]


def test_exif_rotation(tmp_path, converted):
    """Stored 20 rows x 30 columns, shown turned right: 30 rows x 20 columns."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save_photo(tmp_path / "photos/a.jpg", SIZE, exif=exif)
    stored = np.zeros(SIZE, np.uint8)
    stored[0, :] = 255  # the upper row as stored is the right column as shown
    save_mask(tmp_path / "masks/a.png", stored)
    options = {"images": str(tmp_path / "photos"), "masks": str(tmp_path / "masks")}
    with pytest.raises(ValueError, match="--exif stored"):
        converted("binary-masks", label="line", **options)
    result = converted("binary-masks", label="line", exif="stored", **options)
    assert result.images["a.jpg"]["height"] == 30
    assert result.segments("a.jpg")[0]["bbox"] == [19, 0, 1, 30]


def test_class_by_folder_and_by_suffix_and_rest(tmp_path, converted):
    a, b = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    a[:8], b[4:12, 10:14] = 255, 255
    save_photo(tmp_path / "photos/x.png", SIZE)
    save_photo(tmp_path / "photos/x_1.png", SIZE)
    for name in ("x", "x_1"):
        save_mask(tmp_path / f"folders/sky/{name}.png", a)
        save_mask(tmp_path / f"folders/big tree/{name}.png", b)
        save_mask(tmp_path / f"suffixes/{name}_sky.png", a)
        save_mask(tmp_path / f"suffixes/{name}_big tree.png", b)
    for folder, pattern in (("folders", "{class}/{photo}"), ("suffixes", "{photo}_{class}")):
        result = converted(
            "binary-masks",
            Rules(rest="ground"),
            images=str(tmp_path / "photos"),
            masks=str(tmp_path / folder),
            pattern=pattern,
        )
        areas = {result.names[s["category_id"]]: s["area"] for s in result.segments("x.png")}
        # Small over large: the tree lies over the sky.
        assert areas == {"sky": 240 - 16, "big tree": 32, "ground": 600 - 240 - 16}
        assert result.masks("x_1.png") == result.masks("x.png")


def test_one_mask_an_instance(tmp_path, converted):
    save_photo(tmp_path / "photos/x.png", SIZE)
    for number in range(3):
        mask = np.zeros(SIZE, np.uint8)
        mask[3 * number : 3 * number + 2, ::5] = 255  # not connected, still one instance
        save_mask(tmp_path / f"masks/x/nut_{number}.png", mask)
    save_mask(tmp_path / "masks/x/nut_3.png", np.zeros(SIZE, np.uint8))
    result = converted(
        "binary-masks",
        images=str(tmp_path / "photos"),
        masks=str(tmp_path / "masks"),
        pattern="{photo}/{class}_{n}",
        isthing=True,
    )
    assert [s["area"] for s in result.segments("x.png")] == [12, 12, 12]


def test_instance_ids_of_16_bits_with_classes_from_a_semantic_mask(tmp_path, converted):
    save_photo(tmp_path / "photos/x.png", SIZE)
    semantic = np.full(SIZE, 1, np.uint8)
    semantic[10:, :] = 2
    instances = np.zeros(SIZE, np.uint16)
    instances[10:15, 0:5], instances[14:20, 20:25] = 40000, 7
    semantic[14, 20:22] = 1  # most of instance 7 is of class 2 nevertheless
    save_mask(tmp_path / "semantic/x.png", semantic)
    save_mask(tmp_path / "instances/x.png", instances)
    result = converted(
        "instance-ids",
        images=str(tmp_path / "photos"),
        masks=str(tmp_path / "instances"),
        semantic=str(tmp_path / "semantic"),
        values="1=wall,2=brick",
        stuff=("wall",),
    )
    found = sorted((result.names[s["category_id"]], s["area"]) for s in result.segments("x.png"))
    # What is brick without being an instance is void.
    assert found == [("brick", 25), ("brick", 30), ("wall", 300)]


def test_two_photos_of_one_name_are_left_out_and_named(tmp_path, converted):
    for name in ("a.jpg", "a.png", "b.png"):
        save_photo(tmp_path / "photos" / name, SIZE)
    for name in ("a", "b"):
        save_mask(tmp_path / f"masks/{name}.png", np.full(SIZE, 1, np.uint8))
    result = converted(
        "semantic-png", images=str(tmp_path / "photos"), masks=str(tmp_path / "masks"), values="1=x"
    )
    assert list(result.images) == ["b.png"]
    assert len(result.report.left_out) == 2
    assert all("several photos of one name" in item.reason for item in result.report.left_out)


@pytest.mark.parametrize(
    ("form", "options"),
    [("semantic-png", {"values": "1=x"}), ("instance-ids", {"label": "x"})],
)
def test_two_masks_of_one_photo_are_refused_and_named(tmp_path, converted, form, options):
    save_photo(tmp_path / "photos/a.jpg", SIZE)
    for name in ("a.png", "a.tif"):
        save_mask(tmp_path / "masks" / name, np.full(SIZE, 1, np.uint8))
    folders = {"images": str(tmp_path / "photos"), "masks": str(tmp_path / "masks")}
    with pytest.raises(ValueError, match=r"a\.jpg: several masks, one expected: .*a\.png.*a\.tif"):
        converted(form, **folders, **options)


def test_cvats_segmentation_masks_in_colours(tmp_path, converted):
    """Classes and objects as colours, black = nothing; a class whose colour is grey."""
    semantic, objects = np.zeros((*SIZE, 3), np.uint8), np.zeros((*SIZE, 3), np.uint8)
    semantic[2:6, 2:9], objects[2:6, 2:5], objects[2:6, 5:9] = (
        (250, 50, 83),
        (128, 0, 0),
        (0, 128, 0),
    )
    semantic[10:12, 3:5] = objects[10:12, 3:5] = (128, 128, 128)
    grey = np.zeros((*SIZE, 3), np.uint8)
    grey[0:2, 0:2] = (128, 128, 128)
    for name, pair in {"a": (semantic, objects), "b": (grey, grey)}.items():
        save_photo(tmp_path / f"photos/{name}.jpg", SIZE)
        save_mask(tmp_path / f"SegmentationClass/{name}.png", pair[0])
        save_mask(tmp_path / f"SegmentationObject/{name}.png", pair[1])
    result = converted(
        "instance-ids",
        images=str(tmp_path / "photos"),
        masks=str(tmp_path / "SegmentationObject"),
        semantic=str(tmp_path / "SegmentationClass"),
        values="#fa3253=nut, #808080=leaf",
    )
    found = {
        name: sorted((result.names[s["category_id"]], s["area"]) for s in result.segments(name))
        for name in ("a.jpg", "b.jpg")
    }
    assert found == {"a.jpg": [("leaf", 4), ("nut", 12), ("nut", 16)], "b.jpg": [("leaf", 4)]}


def test_equal_names_in_different_folders_are_told_apart(tmp_path, converted):
    for folder in ("cam1", "cam2"):
        save_photo(tmp_path / "photos" / folder / "1.jpg", SIZE)
        save_mask(tmp_path / "masks" / folder / "1.png", np.full(SIZE, 1, np.uint8))
    result = converted(
        "semantic-png", images=str(tmp_path / "photos"), masks=str(tmp_path / "masks"), values="1=x"
    )
    assert list(result.images) == ["cam1__1.jpg", "cam2__1.jpg"]


def test_options_that_do_not_exist_are_told():
    with pytest.raises(ValueError, match=r"no option \['mask'\], allowed: .*'masks'"):
        open_form("semantic-png", mask="x")
    with pytest.raises(ValueError, match=r"form 'png', allowed: \['binary-masks'"):
        open_form("png")
