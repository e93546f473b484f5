"""Binary masks with the quirks that people's files have."""

import re

import numpy as np
import pytest
from converted_sets import save_image, save_mask
from PIL import Image

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules

SIZE = (20, 30)


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
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_mask(tmp_path / f"masks/a_mask.{extension}", (inside * high).astype(kind))
    result = converted(
        "binary-masks",
        images=str(tmp_path / "images"),
        masks=str(tmp_path / "masks"),
        pattern="{image}_mask",
        label="crack",
    )
    assert ((result.labels("a.jpg") == "crack") == inside).mean() > 0.98
    if extension == "png":
        assert result.segments("a.jpg")[0]["bbox"] == [8, 5, 12, 7]


def test_low_values_are_no_foreground_but_never_guessed(tmp_path, converted):
    """255 is the crack and 3 the area it encloses; 3 alone could be anything."""
    save_image(tmp_path / "images/a.jpg", SIZE)
    values = np.zeros(SIZE, np.uint8)
    values[:, 3], values[:, 4:9] = 255, 3
    save_mask(tmp_path / "masks/a.png", values)
    options = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    result = converted("binary-masks", label="crack", **options)
    assert result.segments("a.jpg")[0]["area"] == 20
    save_mask(tmp_path / "masks/a.png", np.minimum(values, 3))
    with pytest.raises(ValueError, match=r"a\.png: values up to 3.*--foreground"):
        converted("binary-masks", label="crack", **options)
    result = converted("binary-masks", label="crack", foreground=3, **options)
    assert result.segments("a.jpg")[0]["area"] == 120


def test_masks_of_another_size_are_refused_or_scaled(tmp_path, converted):
    save_image(tmp_path / "images/a.jpg", SIZE)
    half = np.zeros((10, 15), np.uint8)
    half[:5] = 255
    save_mask(tmp_path / "masks/a.png", half)
    options = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    with pytest.raises(
        ValueError, match=r"a\.png: 15x10 pixels, but its image has 30x20.*--resize"
    ):
        converted("binary-masks", label="sky", **options)
    result = converted("binary-masks", label="sky", resize=True, **options)
    assert result.segments("a.jpg")[0]["bbox"] == [0, 0, 30, 10]


def test_exif_rotation(tmp_path, converted):
    """Stored 20 rows x 30 columns, shown turned right: 30 rows x 20 columns."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save_image(tmp_path / "images/a.jpg", SIZE, exif=exif)
    stored = np.zeros(SIZE, np.uint8)
    stored[0, :] = 255  # the upper row as stored is the right column as shown
    save_mask(tmp_path / "masks/a.png", stored)
    options = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    with pytest.raises(ValueError, match="--exif stored"):
        converted("binary-masks", label="line", **options)
    result = converted("binary-masks", label="line", exif="stored", **options)
    assert result.images["a.jpg"]["height"] == 30
    assert result.segments("a.jpg")[0]["bbox"] == [19, 0, 1, 30]


def test_class_by_folder_and_by_suffix_and_rest(tmp_path, converted):
    a, b = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    a[:8], b[4:12, 10:14] = 255, 255
    save_image(tmp_path / "images/x.png", SIZE)
    save_image(tmp_path / "images/x_1.png", SIZE)
    for name in ("x", "x_1"):
        save_mask(tmp_path / f"folders/sky/{name}.png", a)
        save_mask(tmp_path / f"folders/big tree/{name}.png", b)
        save_mask(tmp_path / f"suffixes/{name}_sky.png", a)
        save_mask(tmp_path / f"suffixes/{name}_big tree.png", b)
    for folder, pattern in (("folders", "{class}/{image}"), ("suffixes", "{image}_{class}")):
        result = converted(
            "binary-masks",
            Rules(background_class="ground"),
            images=str(tmp_path / "images"),
            masks=str(tmp_path / folder),
            pattern=pattern,
        )
        areas = {result.names[s["category_id"]]: s["area"] for s in result.segments("x.png")}
        # Small over large: the tree lies over the sky.
        assert areas == {"sky": 240 - 16, "big tree": 32, "ground": 600 - 240 - 16}
        assert result.masks("x_1.png") == result.masks("x.png")


def test_one_mask_an_instance(tmp_path, converted):
    save_image(tmp_path / "images/x.png", SIZE)
    for number in range(3):
        mask = np.zeros(SIZE, np.uint8)
        mask[3 * number : 3 * number + 2, ::5] = 255  # not connected, still one instance
        save_mask(tmp_path / f"masks/x/nut_{number}.png", mask)
    save_mask(tmp_path / "masks/x/nut_3.png", np.zeros(SIZE, np.uint8))
    result = converted(
        "binary-masks",
        images=str(tmp_path / "images"),
        masks=str(tmp_path / "masks"),
        pattern="{image}/{class}_{n}",
        isthing=True,
    )
    assert [s["area"] for s in result.segments("x.png")] == [12, 12, 12]


def test_small_regions_of_things_are_void_and_counted(tmp_path, converted):
    mask = np.zeros(SIZE, np.uint8)
    mask[2:8, 2:8] = 255
    mask[15, 20:23] = 255
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_mask(tmp_path / "masks/a.png", mask)
    options = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    rules = Rules(background_class="table")
    result = converted("binary-masks", rules, label="nut", isthing=True, **options)
    areas = {result.names[s["category_id"]]: s["area"] for s in result.segments("a.jpg")}
    assert areas == {"nut": 36, "table": 600 - 36 - 3}
    assert (result.ids("a.jpg")[15, 20:23] == 0).all()
    assert result.report.lost_annotations == {"smaller than min_area": {"nut": 1}}


def test_empty_instances_are_counted_and_empty_classes_are_not(tmp_path, converted):
    save_image(tmp_path / "images/a.jpg", SIZE)
    for number in range(2):
        mask = np.full(SIZE, 255 * number, np.uint8)
        save_mask(tmp_path / f"masks/a_nut_{number}.png", mask)
        save_mask(tmp_path / f"classes/a_{'nut' if number else 'leaf'}.png", mask)
    images = str(tmp_path / "images")
    result = converted(
        "binary-masks", images=images, masks=str(tmp_path / "masks"), pattern="{image}_{class}_{n}"
    )
    assert result.report.lost_annotations == {"without pixels": {"nut": 1}}
    result = converted(
        "binary-masks", images=images, masks=str(tmp_path / "classes"), pattern="{image}_{class}"
    )
    assert result.report.lost_annotations == {}


def test_grey_images_are_no_binary_masks(tmp_path, converted):
    """A photograph has grey values all over, a mask at its edges only."""
    save_image(tmp_path / "images/a.jpg", SIZE)
    grey = np.tile(np.linspace(0, 255, SIZE[1]).astype(np.uint8), (SIZE[0], 1))
    save_mask(tmp_path / "masks/a.png", grey)
    options = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    with pytest.raises(ValueError, match=r"a\.png: 7\d % of its pixels are grey.*--threshold"):
        converted("binary-masks", label="crack", **options)
    result = converted("binary-masks", label="crack", threshold=200, **options)
    assert result.segments("a.jpg")[0]["area"] == int((grey >= 200).sum())


def test_two_masks_of_one_image_and_class_are_rejected(tmp_path, converted):
    save_image(tmp_path / "images/a.jpg", SIZE)
    for name in ("a.png", "a.jpg"):
        save_mask(tmp_path / "masks" / name, np.full(SIZE, 255, np.uint8))
    options = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    with pytest.raises(ValueError, match=r"a\.jpg: several masks of one class.*a\.jpg.*a\.png"):
        converted("binary-masks", label="crack", **options)
    result = converted("binary-masks", label="crack", pattern="{image}.png", **options)
    assert result.segments("a.jpg")[0]["area"] == 600


def test_an_image_is_never_its_own_mask(tmp_path, converted):
    """Images and masks of one name in one folder, which only the extension tells apart."""
    folder = tmp_path / "all"
    inside = np.zeros(SIZE, np.uint8)
    inside[5:9] = 255
    save_image(folder / "a.jpg", SIZE)
    save_mask(folder / "a.png", inside)
    options = {"images": str(folder), "masks": str(folder), "label": "crack"}
    result = converted("binary-masks", pattern="{image}.png", **options)
    assert list(result.images) == ["a.jpg"]
    assert result.segments("a.jpg")[0]["area"] == 4 * 30
    (folder / "a.png").unlink()
    options |= {"masks": str(tmp_path), "pattern": "all/{image}"}
    with pytest.raises(ValueError, match=r"a\.jpg: is its own mask"):
        converted("binary-masks", **options)


@pytest.mark.parametrize(("min_area", "kept"), [(None, [10]), (9, [9, 10]), (11, [])])
def test_a_region_of_exactly_min_area_is_one(tmp_path, converted, min_area, kept):
    """Regions of 9 and of 10 pixels; by default 10 are enough."""
    mask = np.zeros(SIZE, np.uint8)
    mask[2, 3:12] = mask[5, 3:13] = 255
    mask[9:15, 20:29] = 255
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_mask(tmp_path / "masks/a.png", mask)
    options = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    options |= {} if min_area is None else {"min_area": min_area}
    result = converted("binary-masks", label="nut", isthing=True, **options)
    assert sorted(s["area"] for s in result.segments("a.jpg")) == [*kept, 54]


def bars(root, *names: str) -> dict:
    """An image and a mask for each name: two bars of 3 x 6 pixels, 2 pixels apart."""
    mask = np.zeros(SIZE, np.uint8)
    mask[2:5, 3:9] = mask[2:5, 11:17] = 255
    save_image(root / "images/a.jpg", SIZE)
    for name in names:
        save_mask(root / f"masks/{name}.png", mask)
    return {"images": str(root / "images"), "masks": str(root / "masks")}


@pytest.mark.parametrize(
    ("options", "areas"),
    [
        ({}, [18, 18]),
        ({"one_region": True}, [36]),
        ({"closing": 4}, [36]),
        ({"closing": 1}, [18, 18]),
        ({"isthing": False}, [36]),
        # Small parts of stuff stay.
        ({"isthing": False, "min_area": 999}, [36]),
    ],
)
def test_things_are_split_unless_they_are_one_region(tmp_path, converted, options, areas):
    folders = bars(tmp_path, "a")
    result = converted("binary-masks", **{**folders, "label": "nut", "isthing": True, **options})
    assert [s["area"] for s in result.segments("a.jpg")] == areas
    assert result.report.lost_annotations == {}


@pytest.mark.parametrize(
    ("options", "classes"),
    [
        ({}, [("pit", False), ("wheel", False), ("wheel_nut", False)]),
        ({"isthing": True}, [("pit", True), ("wheel", True), ("wheel_nut", True)]),
        # In the order in which they are declared, used or not.
        (
            {"declared": "wheel_nut,wheel,none,pit", "things": ("wheel",)},
            [("wheel_nut", False), ("wheel", True), ("none", False), ("pit", False)],
        ),
        ({"declared": "wheel", "isthing": True}, [("wheel", True)]),
    ],
)
def test_classes_of_binary_masks(tmp_path, options, classes):
    folders = bars(tmp_path, "a_wheel_nut", "a_wheel", "a_pit")
    opened = open_format("binary-masks", **folders, pattern="{image}_{class}", **options)
    assert [(c.name, c.isthing) for c in opened.classes] == classes
    assert {match.label for match in opened.matched} <= {name for name, _ in classes}


def test_the_one_class_may_be_declared(tmp_path):
    declared = (SourceClass("nut", "hazelnut", True, 7), SourceClass("pit", "pit", False))
    opened = open_format("binary-masks", **bars(tmp_path, "a"), label="nut", declared=declared)
    assert opened.classes == [declared[0]]


@pytest.mark.parametrize("options", [{}, {"label": "nut", "pattern": "{image}_{class}"}])
def test_the_class_comes_from_the_pattern_or_is_given(tmp_path, options):
    pattern = options.get("pattern", "{image}")
    message = f"pattern '{pattern}', class {options.get('label')!r}: the class must come either"
    with pytest.raises(ValueError, match=re.escape(message)):
        open_format("binary-masks", **bars(tmp_path), **options)


def test_masks_of_equal_area_lie_as_their_names_are_sorted(tmp_path, converted):
    """The last lies on top."""
    folders = bars(tmp_path, "c/a", "b/a")
    options = {**folders, "pattern": "{class}/{image}"}
    assert (converted("binary-masks", **options).labels("a.jpg")[3, 4]) == "c"
