import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from detr_d2.ops.coco_instances import outlines


def redraw(polygons, height, width):
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return coco_mask.decode(rle).astype(bool)


def test_a_pixel_is_a_square():
    mask = np.zeros((4, 6), bool)
    mask[2, 3] = True
    (polygon,) = outlines(mask)
    assert set(zip(polygon[::2], polygon[1::2], strict=True)) == {(3, 2), (4, 2), (4, 3), (3, 3)}


@pytest.mark.parametrize(
    "rows",
    [
        ["#####", "#...#", "#.#.#", "#...#", "#####"],  # a ring around a pixel
        ["##..", "##..", "..##", "..##"],  # parts that touch at a corner
        ["####", "#.##", "##.#", "####"],  # holes that touch at a corner
        # The box of the small part encloses the hole of the large one.
        ["######..", "#......#", "#.###..#", "#.#.####", "#.###...", "#.......", "######.."],
        ["....", "...."],
    ],
)
def test_holes_and_corners_come_back(rows):
    mask = np.array([[cell == "#" for cell in row] for row in rows])
    polygons = outlines(mask)
    if not mask.any():
        assert polygons == []
        return
    assert (redraw(polygons, *mask.shape) == mask).all()


def test_parts_that_touch_at_a_corner_have_an_outline_each():
    assert len(outlines(np.array([[1, 0], [0, 1]], bool))) == 2
    assert len(outlines(np.array([[0, 1], [1, 0]], bool))) == 2


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_any_mask_comes_back(mask):
    if mask.any():
        assert (redraw(outlines(mask), *mask.shape) == mask).all()
