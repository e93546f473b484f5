import numpy as np
import pytest

from detr_d2.pseudo_labels.review_item import STRIPES, render_void, write_note

SEGMENT = {"id": 7}


def green(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 1] = 200
    return image


def loud(picture):
    """Which pixels have a colour of the stripes."""
    return np.any([(picture == color).all(axis=2) for color in STRIPES], axis=0)


def test_void_is_hatched_to_the_pixel_and_all_else_grey():
    ids = np.full((30, 50), 7)
    ids[5:20, 10:40] = 0
    image = green(30, 50)
    picture = render_void(image, ids, [SEGMENT])
    assert np.array_equal(loud(picture), ids == 0)
    # Grey of (0, 200, 0): 0.587 · 200.
    assert (picture[ids == 7] == 117).all()
    assert {tuple(c) for c in picture[7:18, 12:38].reshape(-1, 3).tolist()} == set(STRIPES)
    assert (image == green(30, 50)).all()


def test_ids_that_are_not_listed_are_void():
    ids = np.full((30, 50), 7)
    ids[:, 25:] = 9
    assert np.array_equal(loud(render_void(green(30, 50), ids, [SEGMENT])), ids == 9)
    assert loud(render_void(green(30, 50), ids, [])).all()


def test_one_pixel_of_a_large_image_is_seen_in_a_small_picture():
    ids = np.full((600, 1000), 7)
    ids[301, 501] = 0
    picture = render_void(green(600, 1000), ids, [SEGMENT], width=100)
    assert picture.shape == (60, 100, 3)
    assert np.argwhere(loud(picture)).tolist() == [[30, 50]]


def test_a_small_map_is_scaled_up_in_place():
    ids = np.full((10, 20), 7)
    ids[4:8, 5:15] = 0
    rows, cols = np.nonzero(loud(render_void(green(10, 20), ids, [SEGMENT], width=200)))
    assert (rows.min(), rows.max()) == pytest.approx((40, 79), abs=1)
    assert (cols.min(), cols.max()) == pytest.approx((50, 149), abs=1)


def test_without_void_the_picture_says_so():
    ids = np.full((80, 120), 7)
    picture = render_void(green(80, 120), ids, [SEGMENT])
    assert not loud(picture).any()
    grey = np.full((80, 120, 3), 117, np.uint8)
    assert np.array_equal(picture, write_note(grey, "no void"))


def test_a_note_stands_in_the_middle():
    picture = np.full((80, 120, 3), 117, np.uint8)
    rows, cols = np.nonzero((write_note(picture, "none") != 117).any(axis=2))
    assert rows.min() + rows.max() == pytest.approx(79, abs=2)
    assert cols.min() + cols.max() == pytest.approx(119, abs=2)
    assert (picture == 117).all()
