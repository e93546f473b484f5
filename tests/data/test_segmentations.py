"""Polygons and run-length codes become pixels."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detr_d2.data.image_io import UnreadableError
from detr_d2.data.segmentations import (
    check_points,
    check_size,
    decode_rle,
    rasterize_polygons,
    rasterize_segmentation,
    unpack_counts,
)

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


def test_packed_counts_of_any_mask_are_those_of_pycocotools():
    """Runs of more than 15 pixels take two characters, differences may be negative."""
    rng = np.random.default_rng(3)
    for size in ((1, 1), (3, 40), (70, 50), (90, 30)):
        for share in (0.0, 0.02, 0.5, 1.0):
            mask = rng.random(size) < share
            mask[: size[0] // 3] ^= True
            packed = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            np.testing.assert_array_equal(decode_rle(packed), mask)


@pytest.mark.parametrize(
    ("counts", "runs"), [("0", [0]), ("5o0", [5, 31]), ("PP1", [1024]), ("222N", [2, 2, 2, 0])]
)
def test_packed_counts_written_by_hand(counts, runs):
    """5 bits a character from "0" on, the lowest first; "P" to "o" go on, "@" to "O" are negative.

    From the fourth on differences to the last but one: 2 - 2 = 0.
    """
    assert unpack_counts(counts, "x").tolist() == runs


@pytest.mark.parametrize("counts", ["", "/", "p", "P", "5P", "P" * 8 + "0"])
def test_packed_counts_that_are_malformed(counts):
    with pytest.raises(UnreadableError, match=r"a\.json: malformed RLE counts"):
        unpack_counts(counts, "a.json")


def test_a_corner_may_lie_sixteen_times_the_longer_side_away():
    # The longer side has 6 pixels.
    assert check_points([96, -96, 0, 0], HEIGHT, WIDTH, "x").tolist() == [[96, -96], [0, 0]]
    assert check_points([96, 5], WIDTH, HEIGHT, "x").shape == (1, 2)
    for wrong in (96.5, -96.5, float("nan"), float("inf")):
        with pytest.raises(UnreadableError, match="is not within 96 pixels, 16 times"):
            check_points([0, 0, 1, wrong], HEIGHT, WIDTH, "x")


@pytest.mark.parametrize("size", [[0, 3], [3, 0], [3], [3, 4, 5], [3.0, 4], [True, 4], None])
def test_sizes_are_two_whole_numbers_from_1(size):
    with pytest.raises(UnreadableError, match="must be height and width in pixels"):
        check_size(size, "x")


def test_masks_have_2_to_the_28_pixels_at_most():
    assert check_size([2**14, 2**14], "x") == (2**14, 2**14)
    with pytest.raises(UnreadableError, match=f"size {2**14}x{2**14 + 1}, above {2**28} pixels"):
        check_size([2**14 + 1, 2**14], "x")


def test_a_code_of_the_right_height_and_another_width():
    with pytest.raises(UnreadableError, match="RLE of 5x4 pixels, its image has 6x4"):
        rasterized(segmentation={"size": [HEIGHT, 5], "counts": [20]})


def test_counts_whose_sum_overflows_do_not_pass():
    """Four times 2**62 is 0 in 64 bits."""
    counts = [2**62] * 4 + [HEIGHT * WIDTH]
    with pytest.raises(UnreadableError, match=f"sum {2**64 + HEIGHT * WIDTH}; they must be from 0"):
        rasterized(segmentation={"size": [HEIGHT, WIDTH], "counts": counts})


@pytest.mark.parametrize("counts", [[5, 2], [5, 2, 18], [-1, 25], [], [[24]], [24.0]])
def test_counts_fill_the_mask(counts):
    with pytest.raises(UnreadableError, match="RLE counts"):
        rasterized(segmentation={"size": [HEIGHT, WIDTH], "counts": counts})
