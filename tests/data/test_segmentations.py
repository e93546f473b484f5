"""Polygons and run-length codes become pixels."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detr_d2.data.image_io import UnreadableError
from detr_d2.data.segmentations import decode_rle, rasterize_polygons, rasterize_segmentation

HEIGHT, WIDTH = 4, 6
# Columns 1 to 3 of rows 1 and 2.
SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]
DRAWN = np.zeros((HEIGHT, WIDTH), bool)
DRAWN[1:3, 1:4] = True
# Columns first: 4 + 1 outside, 2 inside, and so on.
COUNTS = [5, 2, 2, 2, 2, 2, 9]


def rasterized(**annotation) -> np.ndarray:
    return rasterize_segmentation(annotation, HEIGHT, WIDTH, "x.json: annotation 7")


def packed() -> dict:
    return coco_mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": COUNTS}, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "shape",
    [[SQUARE], {"size": [HEIGHT, WIDTH], "counts": COUNTS}, packed()],
    ids=["polygons", "counts", "packed"],
)
def test_every_way_to_write_it_gives_the_same_pixels(shape):
    found = rasterized(segmentation=shape, bbox=[1, 1, 3, 2])
    assert found.dtype == bool
    np.testing.assert_array_equal(found, DRAWN)


def test_polygons_are_one_mask_and_what_lies_outside_is_cut():
    found = rasterize_polygons([SQUARE, [5, 0, 9, 0, 9, 2, 5, 2]], HEIGHT, WIDTH)
    expected = DRAWN.copy()
    expected[0:2, 5] = True
    np.testing.assert_array_equal(found, expected)


def test_what_has_no_area_is_empty_and_no_box():
    """pycocotools takes four numbers for a box."""
    assert not rasterize_polygons([[0, 0, 3, 3]], HEIGHT, WIDTH).any()
    assert rasterize_polygons([], HEIGHT, WIDTH).shape == (HEIGHT, WIDTH)
    assert not rasterized(segmentation=[]).any()
    assert not rasterized().any()
    assert not rasterized(segmentation={"size": [HEIGHT, WIDTH]}).any()


def test_a_code_is_of_its_own_size():
    assert decode_rle({"size": [2, 3], "counts": [6]}).shape == (2, 3)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"segmentation": {"size": [2, 3], "counts": [6]}}, "RLE of 3x2 pixels, its image has 6x4"),
        ({"segmentation": [], "bbox": [0, 0, 2, 2]}, "only a box; a mask is needed"),
        ({"segmentation": {"counts": [6]}}, "size None; must be height and width"),
        ({"segmentation": [["a"] * 6]}, r"coordinates \['a', .* are no list of numbers"),
    ],
)
def test_what_cannot_be_drawn_is_told_with_its_place(annotation, message):
    with pytest.raises(UnreadableError, match=f"x.json: annotation 7: {message}"):
        rasterized(**annotation)
