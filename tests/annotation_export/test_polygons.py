import numpy as np
import pytest

from detr_d2.annotation_export import polygons
from detr_d2.annotation_export.polygons import layered_shapes, rasterize, whole_shapes

WALL, BRICK, HOLE = 1, 2, 0
SEGMENTS = [{"id": WALL}, {"id": BRICK}]


def wall_with_a_brick():
    """A wall of 20 rows, 30 columns with a brick and, apart from it, a void window in it."""
    ids = np.full((24, 34), HOLE, np.int32)
    ids[2:22, 2:32] = WALL
    ids[5:10, 5:12] = BRICK
    ids[12:18, 20:28] = HOLE
    return ids


def painted(shapes, size):
    """Small over large, as shapes come back by the rule of the conversion."""
    ids = np.zeros(size, np.int32)
    for shape in sorted(shapes, key=lambda s: -int(rasterize(s.corners, size).sum())):
        ids[rasterize(shape.corners, size)] = shape.segment["id"]
    return ids


def test_a_whole_shape_is_its_segment_with_holes_and_parts():
    ids = wall_with_a_brick()
    ids[23, 0:3] = WALL  # a part apart
    for shape in whole_shapes(ids, SEGMENTS):
        mask = ids == shape.segment["id"]
        assert shape.area == mask.sum()
        assert (rasterize(shape.corners, ids.shape) == mask).all()


def test_a_layered_shape_goes_on_below_what_lies_in_it_but_not_below_void():
    ids = wall_with_a_brick()
    wall, brick = layered_shapes(ids, SEGMENTS)
    assert (wall.segment["id"], brick.segment["id"]) == (WALL, BRICK)
    covered = rasterize(wall.corners, ids.shape)
    assert covered[ids == BRICK].all() and not covered[ids == HOLE].any()
    assert len(wall.corners) == 4 + 1 + 4 + 1, "the outline, and there and back to the window"
    assert brick.corners in ([(5, 5), (12, 5), (12, 10), (5, 10)],) or len(brick.corners) == 4
    assert (painted([wall, brick], ids.shape) == ids).all()


def test_an_island_that_touches_with_a_corner_is_none_of_what_lies_around_it():
    """A brick in a window of a wall, of which a corner of the window sticks out to it."""
    ids = np.full((12, 14), WALL, np.int32)
    ids[3:8, 3:9] = HOLE
    ids[3, 3], ids[4, 4] = WALL, BRICK
    wall, brick = layered_shapes(ids, SEGMENTS)
    assert (wall.area, brick.area) == ((ids == WALL).sum(), 1)
    assert (painted([wall, brick], ids.shape) == ids).mean() > 0.97


def test_islands_within_islands_come_back_small_over_large():
    ids = np.zeros((40, 40), np.int32)
    for step, number in enumerate((WALL, BRICK, WALL, HOLE, BRICK)):
        ids[3 + 3 * step : 37 - 3 * step, 3 + 3 * step : 37 - 3 * step] = number
    shapes = layered_shapes(ids, SEGMENTS)
    assert len(shapes) == 4
    assert (painted(shapes, ids.shape) == ids).all()


def test_corners_are_few_and_at_most_about_a_pixel_off():
    rows, columns = np.mgrid[:200, :300]
    ids = ((rows - 100) ** 2 + ((columns - 150) / 1.4) ** 2 < 80**2).astype(np.int32)
    (shape,) = whole_shapes(ids, [{"id": 1}])
    assert len(shape.corners) < 60
    drawn = rasterize(shape.corners, ids.shape)
    assert (drawn & (ids == 1)).sum() / (drawn | (ids == 1)).sum() > 0.985
    # No pixel farther than one from the edge differs.
    inside = ids.astype(bool)
    core = inside[2:-2, 2:-2].copy()
    for dy in range(5):
        for dx in range(5):
            core &= inside[dy : dy + 196, dx : dx + 296]
    assert drawn[2:-2, 2:-2][core].all()


@pytest.mark.parametrize("width", [1, 2])
def test_what_is_thin_keeps_its_corners(width):
    ids = np.zeros((40, 40), np.int32)
    for step in range(30):
        ids[5 + step, 3 + step : 3 + step + width] = 1
    (shape,) = whole_shapes(ids, [{"id": 1}])
    drawn = rasterize(shape.corners, ids.shape)
    assert (drawn & (ids == 1)).sum() / (drawn | (ids == 1)).sum() > 0.95


def test_a_segment_without_pixels_has_no_shape():
    ids = np.full((4, 5), 7, np.int32)
    assert len(whole_shapes(ids, [{"id": 7}, {"id": 8}])) == 1
    assert len(layered_shapes(ids, [{"id": 7}, {"id": 8}])) == 1
    assert whole_shapes(ids, []) == [] and layered_shapes(ids, []) == []


def test_parts_are_outlined_in_their_own_boxes(monkeypatch):
    """A map of 6000 x 4000 pixels may have thousands of parts."""
    sizes = []

    def watched(corners, size):
        sizes.append(tuple(size))
        return rasterize(corners, size)

    monkeypatch.setattr(polygons, "rasterize", watched)
    ids = np.zeros((70, 90), np.int32)
    ids[40:60, 50:80] = WALL
    ids[45:50, 55:60] = BRICK
    shapes = layered_shapes(ids, SEGMENTS)
    assert [shape.area for shape in shapes] == [20 * 30, 25]
    assert set(sizes) == {(20, 30), (5, 5)}
