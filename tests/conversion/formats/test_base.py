"""What all annotation formats share: sizes, alignment, classes, samples, pixels of shapes."""

import pickle
import re

import numpy as np
import pytest
from annotation_files import BOX, CORNERS, SIZE
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.base import Sample, Skipped, files_of
from detr_d2.conversion.formats.labelme import Labelme
from detr_d2.conversion.formats.shapes import fill_ellipse, fill_polygon, fill_rectangle
from detr_d2.data.image_io import ImageInfo, UnreadableError


def upright(size=(20, 30), orientation: int = 1) -> ImageInfo:
    return ImageInfo(size, orientation, 0)


TURNED = upright((30, 20), 6)


@pytest.mark.parametrize(
    ("exif", "info", "size"),
    [
        ("upright", TURNED, (30, 20)),
        ("stored", TURNED, (20, 30)),
        # Turned by half or mirrored, an image keeps its size.
        ("stored", upright((30, 20), 3), (30, 20)),
        ("stored", upright((30, 20), 4), (30, 20)),
        ("stored", upright((30, 20), 5), (20, 30)),
        ("stored", upright((30, 20), 8), (20, 30)),
    ],
)
def test_the_size_of_an_image_as_it_was_annotated(exif, info, size):
    assert Labelme(".", exif=exif).annotated_size(info) == size


@pytest.mark.parametrize(
    ("options", "size", "info", "hint"),
    [
        ({}, (20, 30), upright(), None),
        ({}, (20, 31), upright(), "scale it with --resize"),
        ({}, (21, 30), upright(), "scale it with --resize"),
        ({"resize": True}, (10, 31), upright(), None),
        # On its side, which only EXIF explains; a square never lies.
        ({}, (30, 20), upright(), "scale it with --resize"),
        ({"resize": True}, (30, 20), upright((20, 30), 3), None),
        ({"resize": True}, (25, 25), TURNED, None),
        ({"resize": True}, (60, 40), TURNED, None),
        (
            {"resize": True},
            (10, 15),
            TURNED,
            "turned by EXIF and the annotation is not: use --exif st",
        ),
        (
            {"resize": True, "exif": "stored"},
            (30, 20),
            TURNED,
            "as the image is by EXIF: use --exif up",
        ),
    ],
)
def test_what_to_do_about_another_size(options, size, info, hint):
    found = Labelme(".", **options).misfit(size, info)
    assert found is None if hint is None else hint in found


def test_masks_of_another_size_are_named_with_both():
    with pytest.raises(
        UnreadableError, match=r"^m\.png: 31x20 pixels, but its image has 30x20; sc"
    ):
        Labelme(".").align(np.zeros((20, 31), bool), upright(), "m.png")
    with pytest.raises(
        UnreadableError, match=r"^m\.png: 20x31 pixels, but its image has 30x20; the an"
    ):
        Labelme(".", exif="stored").align(np.zeros((31, 20), bool), TURNED, "m.png")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (bool, [[True, False]]),
        (np.uint8, [[255, 1]]),
        (np.uint16, [[65535, 257]]),
        # More than 2^24: single precision would lose the last bit.
        (np.int32, [[2**31 - 1, 2**24 + 1]]),
    ],
)
def test_scaled_masks_keep_their_values_and_type(kind, values):
    scaled = Labelme(".", resize=True).align(np.array(values, kind), upright((2, 4)), "x")
    assert scaled.dtype == kind
    assert scaled.tolist() == [[values[0][0]] * 2 + [values[0][1]] * 2] * 2


def test_scaling_takes_the_pixel_below_the_centre():
    """Of five columns, 0, 1, 3 and 4 are nearest to the centres of four."""
    scaled = Labelme(".", resize=True).align(
        np.arange(5, dtype=np.uint8)[None], upright((1, 4)), ""
    )
    assert scaled.tolist() == [[0, 1, 3, 4]]


def masks(root, *names: str) -> dict:
    for name in names:
        save_image(root / f"images/{name}.png", SIZE)
        save_mask(root / f"masks/{name}.png", BOX)
    folders = {"images": str(root / "images"), "masks": str(root / "masks")}
    return {**folders, "annotation_format": "semantic-png", "values": "0=soil,1=nut"}


def test_files_are_looked_at_once(tmp_path):
    opened = open_format(**masks(tmp_path, "a"))
    save_image(tmp_path / "images/b.png", SIZE)
    opened.scan()
    assert [sample.name for sample in opened.samples] == ["a.png"]
    assert opened.skipped == []


def test_things_and_stuff_are_chosen_by_name(tmp_path):
    options = masks(tmp_path, "a")
    for chosen, things in (
        ({"things": ("nut",)}, [False, True]),
        ({"stuff": ("nut",)}, [True, False]),
        ({"things": ("soil",), "stuff": ("nut",)}, [True, False]),
        ({}, [False, False]),
    ):
        assert [c.isthing for c in open_format(**options, **chosen).classes] == things


def test_a_worker_process_gets_no_lists_of_images(tmp_path):
    options = masks(tmp_path, "a", "b")
    (tmp_path / "masks/b.png").unlink()
    opened = open_format(**options)
    copy = pickle.loads(pickle.dumps(opened))
    assert (copy.samples, copy.skipped, copy.matched) == ([], [], [])
    assert copy.classes == opened.classes
    assert (len(opened.samples), len(opened.skipped), len(opened.matched)) == (1, 1, 1)


def test_files_of_samples():
    samples = [
        Sample("a.png", "/i/a.png", None, ("/m/a.png", "/x")),
        Sample("b", None, None, ("/b",)),
    ]
    assert list(files_of(samples)) == ["/i/a.png", "/m/a.png", "/x", "/b"]


def test_names_that_are_no_utf_8_can_be_written():
    item = Skipped("gr\udcfcn.png", "/data/\udcff: absent")
    assert (item.name, item.reason) == ("gr\\udcfcn.png", "/data/\\udcff: absent")


def test_an_image_that_is_nowhere_is_named(tmp_path):
    with pytest.raises(UnreadableError, match=r"^a\.png: there is no image$"):
        open_format(**masks(tmp_path, "a")).image_bytes(Sample("a.png", None, None))


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({}, ["pit", "nut", "blur"]),
        ({"skip": ("pit",)}, ["nut", "blur"]),
        ({"ignore": ("blur",)}, ["pit", "nut"]),
    ],
)
def test_labels_that_are_classes_keep_their_order(options, labels):
    names = ("pit", "__ignore__", "nut", "pit", "_background_", "__background__", "blur")
    classes = Labelme(".", **options).make_classes(names)
    assert [(c.key, c.name, c.isthing) for c in classes] == [(n, n, True) for n in labels]


@pytest.mark.parametrize("isthing", [None, True, False])
@pytest.mark.parametrize(
    ("name", "key", "by_default"),
    [("binary-masks", "declared", False), ("instance-ids", "values", True)],
)
def test_classes_given_as_text_are_things_by_the_format(tmp_path, isthing, name, key, by_default):
    folders = {k: v for k, v in masks(tmp_path, "a").items() if k in ("images", "masks")}
    options = {key: "1=nut" if key == "values" else "nut"}
    options |= {"divisor": 10} if key == "values" else {"pattern": "{class}/{image}"}
    if isthing is not None and name == "binary-masks":
        options["isthing"] = isthing
        by_default = isthing
    (nut,) = open_format(name, **folders, **options).classes
    assert nut.isthing == by_default


def test_a_polygon_has_three_corners_and_holes():
    assert fill_polygon([0, 0, 4, 0, 0, 4], SIZE, "x").sum() > 0
    with pytest.raises(UnreadableError, match=r"^x: 2 points, a polygon has 3 or more"):
        fill_polygon([0, 0, 4, 0], SIZE, "x")
    with pytest.raises(UnreadableError, match=r"^x: 2 points"):
        fill_polygon(CORNERS, SIZE, "x", [[[3, 4], [5, 4]]])
    holes = [[[3, 4], [5, 4], [5, 6], [3, 6]], [[7, 4], [9, 4], [9, 5], [7, 5]]]
    expected = BOX.copy()
    expected[4:6, 3:5] = expected[4:5, 7:9] = False
    np.testing.assert_array_equal(fill_polygon(CORNERS, SIZE, "x", holes), expected)


@pytest.mark.parametrize("corners", [[2, 3, 12, 8], [[12, 3], [2, 8]], [[12, 8], [2, 3]]])
def test_a_rectangle_goes_from_any_corner_to_the_one_across(corners):
    np.testing.assert_array_equal(fill_rectangle(corners, SIZE, "x"), BOX)


def test_an_ellipse_holds_the_pixels_whose_centres_it_holds():
    """A centre on the edge counts: of radius 1 about a pixel's centre, five pixels in a cross."""
    ring = fill_ellipse([4.5, 2.5], [1, 1], (5, 9), "x")
    assert np.argwhere(ring).tolist() == [[1, 4], [2, 3], [2, 4], [2, 5], [3, 4]]
    flat = fill_ellipse([4.5, 2.5], [3, 0.5], (5, 9), "x")
    assert np.argwhere(flat).tolist() == [[2, column] for column in range(1, 8)]


@pytest.mark.parametrize(
    ("radii", "angle"), [([0, 2], 0), ([2, 0], 0), ([-1, 2], 0), ([2, -1], 0), ([2, 2], np.nan)]
)
def test_radii_and_angles_that_are_none_are_named(radii, angle):
    message = f"x: radii {radii[0]}, {radii[1]}, angle {angle}; no ellipse"
    with pytest.raises(UnreadableError, match=re.escape(message)):
        fill_ellipse([5, 5], radii, SIZE, "x", angle)
