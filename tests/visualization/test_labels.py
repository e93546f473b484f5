"""Where labels lie: on what they name, within the picture, and not on one another."""

import numpy as np
import pytest

from detr_d2.visualization import labels
from detr_d2.visualization.labels import label_corners, label_segments, pill_box

RED, GREEN = (220, 20, 20), (20, 200, 20)


def grey(height, width):
    return np.full((height, width, 3), 100, np.uint8)


@pytest.fixture
def pills(monkeypatch):
    """Boxes, texts, sizes and colours of the labels, in their order."""
    found, render = [], labels.render_pill

    def note(draw, box, text, size, mark):
        found.append((box, text, size, mark))
        render(draw, box, text, size, mark)

    monkeypatch.setattr(labels, "render_pill", note)
    return found


@pytest.mark.parametrize(("top", "left"), [(20, 50), (0, 0)])
def test_a_label_is_around_the_innermost_point(pills, top, left):
    """Of a square of 41 pixels; where the picture ends, it ends too."""
    index_map = np.full((top + 41, left + 41), -1, np.int32)
    index_map[top : top + 41, left : left + 41] = 0
    label_segments(grey(*index_map.shape), index_map, [["b"]], [RED])
    assert pills == [(pill_box("b", 11, (left + 20, top + 20)), "b", 11, RED)]


def test_the_first_text_that_has_room_is_shown(pills):
    index_map = np.zeros((60, 100), np.int32)
    index_map[:, 50:] = 1
    texts = [["nut 93%", "nut"], ["a name that is too wide", "bolt"]]
    label_segments(grey(60, 100), index_map, texts, [RED, GREEN])
    assert [(text, mark) for _, text, _, mark in pills] == [("nut 93%", RED), ("bolt", GREEN)]


@pytest.mark.parametrize("corner", [(-20, 40), (290, 40), (100, -9), (100, 95), (290, 95)])
def test_a_label_at_a_border_is_moved_into_the_picture_by_no_more_than_needed(pills, corner):
    label_corners(grey(100, 300), np.array([corner]), ["crane"], [RED])
    left, top, right, bottom = pills[0][0]
    x = min(max(corner[0], 0), 299 - (right - left))
    y = min(max(corner[1], 0), 99 - (bottom - top))
    assert (left, top) == pytest.approx((x, y), abs=1)
    assert left >= 0 and top >= 0 and right < 300 and bottom < 100


@pytest.mark.parametrize(("height", "width"), [(8, 300), (300, 20)])
def test_a_label_larger_than_the_picture_is_not_drawn(pills, height, width):
    picture = label_corners(grey(height, width), np.array([[0, 0]]), ["crane"], [RED])
    assert pills == [] and (picture == 100).all()


@pytest.mark.parametrize(
    ("dx", "dy", "count"), [(1, 0, 2), (0, 1, 2), (1, 1, 2), (0.5, 0, 1), (0, 0.5, 1)]
)
def test_labels_side_by_side_are_both_shown(pills, dx, dy, count):
    """The second begins where the first ends."""
    left, top, right, bottom = pill_box("nut", 11, (0, 0))
    step = round((right - left) * dx), round((bottom - top) * dy)
    corners = np.array([[20, 20], [20 + step[0], 20 + step[1]]])
    label_corners(grey(100, 200), corners, ["nut", "nut"], [RED, GREEN])
    assert len(pills) == count


@pytest.mark.parametrize(
    ("width", "height", "size"), [(60, 500, 11), (510, 100, 15), (748, 90, 22), (4000, 90, 22)]
)
def test_letters_grow_with_the_width_of_the_picture(pills, width, height, size):
    label_corners(grey(height, width), np.array([[5, 5]]), ["x"], [RED])
    assert pills[0][2] == size


def test_the_outline_has_the_colour_of_what_it_names(pills):
    picture = label_corners(grey(100, 200), np.array([[20, 30]]), ["nut"], [GREEN])
    left, top, right, bottom = pills[0][0]
    middle = (top + bottom) // 2, (left + right) // 2
    for row, column in ((middle[0], left), (middle[0], right), (top, middle[1])):
        assert picture[row, column].tolist() == list(GREEN)
    # Dark, and the picture shines through.
    assert 25 < picture[middle[0], left + 2].max() < 60
