"""Default colours can be told apart, measured by formulas that are not the code's own."""

import numpy as np
import pytest

from detr_d2.utils.colors import MOST, default_color


def lab(colors):
    """CIELAB (D65) of sRGB colours (N, 3) in 0..255, by the CIE's formulas."""
    c = np.asarray(colors) / 255
    linear = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * 841 / 108 + 4 / 29)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def test_lab_of_known_colours():
    """White, and the red of sRGB."""
    expected = [[100, 0, 0], [53.24, 80.09, 67.20]]
    assert lab([(255, 255, 255), (255, 0, 0)]) == pytest.approx(np.array(expected), abs=0.1)


def nearest(distances):
    return distances[~np.eye(len(distances), dtype=bool)].min()


def test_no_two_of_64_classes_look_alike():
    """A difference of 2.3 is just noticeable (CIE 1976); void and outlines are far away, too."""
    colors = [default_color(index) for index in range(64)]
    points = lab([*colors, (34, 36, 40), (255, 255, 255), (28, 30, 34)])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert nearest(distances[:64, :64]) > 10
    assert distances[:64, 64:].min() > 15


def test_by_the_newer_formula_too():
    color = pytest.importorskip("skimage.color")
    points = lab([default_color(index) for index in range(64)])
    assert nearest(color.deltaE_ciede2000(points[:, None], points[None])) > 8


def test_the_first_classes_differ_most():
    points = lab([default_color(index) for index in range(8)])
    assert nearest(np.linalg.norm(points[:, None] - points[None], axis=2)) > 30


def test_there_are_colours_for_every_number_of_classes():
    assert len({default_color(index) for index in range(200)}) == 200
    assert default_color(MOST) == default_color(0)
    assert default_color(64) not in [default_color(i) for i in range(64)]
