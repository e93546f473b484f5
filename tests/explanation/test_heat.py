"""Colours of numbers."""

import numpy as np

from detr_d2.explanation.heat import IMAGE_SHARE, grey, heat, heat_over, signed_heat, tile


def brightness(picture):
    return picture.astype(int).sum(axis=2)


def test_heat_grows_from_zero_to_the_largest_value():
    shown = brightness(heat(np.array([[0.0, 1.0, 4.0]])))
    assert shown[0].tolist() == sorted(set(shown[0].tolist()))
    # What counts is the share of the largest; nothing at all is as dark as zero.
    assert (heat(np.array([[0.0, 5.0]])) == heat(np.array([[0.0, 0.1]]))).all()
    assert (heat(np.zeros((1, 2))) == heat(np.array([[0.0, 1.0]]))[:, :1]).all()


def test_signs_are_blue_and_red_around_white():
    low, middle, high = signed_heat(np.array([[-3.0, 0.0, 3.0]]))[0].astype(int)
    assert low[2] > low[0] + 50 and high[0] > high[2] + 50 and middle.min() > 240
    # Of numbers that are nearly all negative the most negative are the bluest, not all.
    nearly = np.linspace(-10.0, 0.05, 100)[None]
    assert signed_heat(nearly)[0, 90].min() > 180
    # One cell far away does not make all others white.
    values = np.full((20, 20), 1.0)
    values[0, 0] = 1000.0
    assert signed_heat(values)[5, 5, 2] < 100


def test_grey_goes_from_the_smallest_to_the_largest():
    assert grey(np.array([[-2.0, 0.0, 2.0]]))[0, :, 0].tolist() == [0, 128, 255]
    assert grey(np.full((2, 2), 7.0)).max() == 0


def test_cells_stay_sharp_and_images_get_smooth():
    cells = np.zeros((2, 3, 3), np.uint8)
    cells[0, 1] = 200
    large = tile(cells, 30, 20)
    assert large.shape == (20, 30, 3) and set(np.unique(large)) == {0, 200}
    assert (large[:10, 10:20] == 200).all() and large.astype(int).sum() == 100 * 3 * 200
    checks = np.indices((20, 30)).sum(0)[..., None].repeat(3, 2) % 2 * 200
    assert np.abs(tile(checks.astype(np.uint8), 15, 10).astype(int) - 100).max() <= 1


def test_an_image_is_dim_and_grey_where_weights_are_small():
    image = np.zeros((20, 40, 3), np.uint8)
    image[..., 1] = 200
    weights = np.zeros((2, 4))
    weights[0, 3] = 0.25
    shown = heat_over(image, weights)
    assert shown.shape == image.shape
    # The grey of this green is 117.
    assert shown[15, 5].tolist() == [int(117 * IMAGE_SHARE)] * 3
    assert brightness(shown)[2, 37] > brightness(shown)[15, 5] + 150
    assert (image[..., 1] == 200).all()
