import numpy as np
import pytest

from detr_d2.visualization import (
    Palette,
    overlay,
    render_boxes,
    render_segments,
    resize_image,
)
from detr_d2.visualization.labels import label_segments
from detr_d2.visualization.overlay import STUFF_ALPHA, THING_ALPHA, segment_colors

RED, GREEN = (220, 20, 20), (20, 200, 20)
PALETTE = Palette(["barrel", "grass"], [RED, GREEN], thing_ids=[0])
THING = {"id": 7, "category_id": 0, "isthing": True}
STUFF = {"id": 9, "category_id": 1, "isthing": False}


def grey(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


def blend(color, alpha, value=100):
    return [int(alpha * c + (1 - alpha) * value) for c in color]


def test_segments_get_their_class_colour_and_void_is_dim():
    ids = np.zeros((40, 60), np.int32)
    ids[:, :20], ids[:, 20:40] = 7, 9
    image = grey(40, 60)
    picture = render_segments(image, ids, [THING, STUFF], PALETTE)
    # Away from the borders: row 3, above the labels.
    assert picture[3, 10].tolist() == pytest.approx(blend(RED, THING_ALPHA), abs=1)
    assert picture[3, 30].tolist() == pytest.approx(blend(GREEN, STUFF_ALPHA), abs=1)
    assert picture[3, 50].max() < 60
    assert (image == 100).all()


def test_things_are_outlined_in_white_and_the_border_of_the_picture_is_not():
    ids = np.full((40, 60), 9, np.int32)
    ids[10:30, 20:40] = 7
    picture = render_segments(grey(40, 60), ids, [STUFF, THING], PALETTE)
    assert (picture[26:29, 20] > 210).all()
    assert picture[0, 5].tolist() == pytest.approx(blend(GREEN, STUFF_ALPHA), abs=1)


def test_things_of_one_class_differ_and_stuff_of_one_class_does_not():
    ids = np.zeros((30, 80), np.int32)
    segments = []
    for number in range(4):
        ids[:, number * 20 : number * 20 + 20] = number + 1
        base = THING if number < 2 else STUFF
        segments.append({**base, "id": number + 1})
    picture = render_segments(grey(30, 80), ids, segments, PALETTE)
    colors = [picture[3, number * 20 + 10].tolist() for number in range(4)]
    assert colors[0] != colors[1]
    assert colors[2] == colors[3]


def test_small_pictures_are_scaled_up_without_stairs_and_in_place():
    ids = np.zeros((16, 20), np.int32)
    ids[4:12, 5:15] = 7
    picture = render_segments(grey(16, 20), ids, [THING], PALETTE, width=200)
    assert picture.shape == (160, 200, 3)
    reddish = picture[..., 0].astype(int) - picture[..., 1] > 40
    rows, cols = np.nonzero(reddish)
    assert (rows.min(), rows.max()) == pytest.approx((40, 119), abs=4)
    assert (cols.min(), cols.max()) == pytest.approx((50, 149), abs=4)


def test_labels_only_where_there_is_room():
    ids = np.zeros((100, 200), np.int32)
    ids[2:6, 2:6] = 9
    bare = render_segments(grey(100, 200), ids, [STUFF], PALETTE)
    assert (bare > 240).sum() == 0  # no white letters
    ids[:] = 9
    labelled = render_segments(grey(100, 200), ids, [{**STUFF, "score": 0.97}], PALETTE)
    assert (labelled > 240).sum() > 20


def test_no_segments_at_all_and_ids_that_are_not_listed():
    ids = np.full((10, 12), 5, np.int32)
    picture = render_segments(grey(10, 12), ids, [], PALETTE)
    assert picture.shape == (10, 12, 3)
    assert picture.max() < 60


def test_boxes_are_rendered_at_scale_with_exclusive_corners():
    box = np.array([[10.0, 20.0, 30.0, 40.0]])
    image = grey(60, 50)
    picture = render_boxes(image, box, [THING], PALETTE, width=100)
    assert picture.shape == (120, 100, 3)
    assert picture[79, 40].tolist() == list(RED)
    assert picture[82, 40].tolist() == [100, 100, 100]
    assert (image == 100).all()


def letters(picture):
    """Rows and columns of the white of a label's letters."""
    return np.nonzero((picture > 240).all(axis=2))


def test_the_label_stands_at_the_corner_of_the_enlarged_box():
    box = np.array([[40.0, 30.0, 90.0, 50.0]])
    rows, columns = letters(render_boxes(grey(60, 100), box, [THING], PALETTE, width=400))
    # The corner is at column 160, row 120.
    assert 160 <= columns.min() < 175 and 120 <= rows.min() < 135


def test_boxes_over_segments_are_enlarged_with_them():
    ids = np.zeros((40, 60), np.int32)
    ids[10:30, 20:40] = 7
    # The box says more than the mask; its upper left corner is at row 8, column 12, twice as large.
    box = np.array([[12.0, 8.0, 40.0, 30.0]])
    picture = render_segments(grey(40, 60), ids, [THING], PALETTE, width=120, boxes=box)
    assert picture[16, 24:60].tolist() == [list(RED)] * 36
    assert picture[16:40, 24].tolist() == [list(RED)] * 24
    assert (picture[8, 12:16] != RED).any()


def test_a_label_near_the_border_is_moved_into_the_picture():
    box = np.array([[150.0, 92.0, 198.0, 99.0]])
    rows, columns = letters(render_boxes(grey(100, 200), box, [THING], PALETTE))
    middle = letters(render_boxes(grey(100, 200), box - 50, [THING], PALETTE))
    assert len(rows) == len(middle[0]) and rows.max() < 99 and columns.max() < 199


def test_of_two_labels_that_overlap_the_larger_segments_is_shown():
    index_map = np.full((60, 130), -1, np.int32)
    index_map[:50, :50], index_map[:60, 50:110] = 0, 1
    # Each text is wider than its square, in whose middle it stands.
    picture = label_segments(grey(60, 130), index_map, [["scaffolding"]] * 2, [RED, GREEN])
    _, columns = letters(picture)
    assert columns.min() > 30 and columns.max() > 100


def test_where_a_text_has_no_room_a_shorter_one_is_shown():
    index_map = np.zeros((40, 60), np.int32)
    texts = [["a name that is wider than all of the picture", "nut"]]
    assert len(letters(label_segments(grey(40, 60), index_map, texts, [RED]))[0])


def test_a_things_outline_lies_on_that_of_stuff_in_any_order():
    ids = np.full((40, 60), 9, np.int32)
    ids[10:30, 20:40] = 7
    one, other = (
        render_segments(grey(40, 60), ids, segments, PALETTE)
        for segments in ([STUFF, THING], [THING, STUFF])
    )
    assert (one == other).all()


def test_things_are_counted_by_class():
    palette = Palette(["nut", "bolt"], [RED, GREEN], thing_ids=[0, 1])
    nut, bolt = THING, {**THING, "category_id": 1}
    assert segment_colors([nut, bolt, bolt], palette) == [RED, GREEN, palette.shade(1, 1)]


def test_no_boxes():
    picture = render_boxes(grey(8, 8), np.zeros((0, 4)), [], PALETTE)
    assert (picture == 100).all()


def test_image_keeps_its_shape_when_scaled():
    assert resize_image(grey(30, 60), 200).shape == (100, 200, 3)
    assert resize_image(grey(30, 60), None).shape == (30, 60, 3)


def test_a_thin_stripe_gets_no_label_though_its_area_is_large_enough():
    ids = np.zeros((200, 400), np.int32)
    ids[100:105] = 9
    picture = render_segments(grey(200, 400), ids, [STUFF], PALETTE)
    assert (picture > 240).sum() == 0


def test_boxes_at_the_images_own_size_leave_the_image_alone():
    image = grey(40, 60)
    picture = render_boxes(image, np.array([[10.0, 10.0, 30.0, 30.0]]), [THING], PALETTE)
    assert not np.array_equal(picture, image)
    assert (image == 100).all()


def test_of_two_labels_at_one_place_only_one_is_rendered():
    box = np.array([[10.0, 30.0, 150.0, 90.0]])
    one = render_boxes(grey(120, 200), box, [THING], PALETTE)
    two = render_boxes(grey(120, 200), np.repeat(box, 2, axis=0), [THING, STUFF], PALETTE)
    # The second box changes the rectangle's colour, not the first label's letters.
    assert (two > 240).sum() == (one > 240).sum() > 0


def test_strips_leave_no_trace(monkeypatch):
    ids = np.zeros((41, 60), np.int32)
    ids[3:30, 5:25], ids[10:41, 30:] = 7, 9
    image = np.random.default_rng(0).integers(0, 256, (41, 60, 3), dtype=np.uint8)
    whole = render_segments(image, ids, [THING, STUFF], PALETTE)
    monkeypatch.setattr(overlay, "STRIP", 7)
    np.testing.assert_array_equal(render_segments(image, ids, [THING, STUFF], PALETTE), whole)


def test_a_picture_has_at_least_one_row():
    assert resize_image(grey(1, 400), 100).shape == (1, 100, 3)


def test_pictures_get_smooth_when_enlarged_and_averaged_when_shrunk():
    halves = np.concatenate([grey(9, 10, 0), grey(9, 10, 200)], axis=1)
    assert ((resize_image(halves, 200) > 50) & (resize_image(halves, 200) < 150)).any()
    checks = np.indices((20, 40)).sum(0)[..., None].repeat(3, 2) % 2 * 200
    assert np.abs(resize_image(checks.astype(np.uint8), 20).astype(int) - 100).max() <= 1


def test_void_hides_as_much_as_is_asked_and_the_image_loses_half_of_its_colour():
    image = np.full((20, 30, 3), (200, 20, 40), np.uint8)
    # Its grey is 0.299 * 200 + 0.587 * 20 + 0.114 * 40 = 76.
    ids = np.zeros((20, 30), np.int32)
    picture = render_segments(image, ids, [], PALETTE, void_alpha=0.0)
    assert picture[5, 5].tolist() == [138, 48, 58]
    assert render_segments(image, ids, [], PALETTE, void_alpha=1.0)[5, 5].tolist() == [34, 36, 40]


@pytest.mark.parametrize(("width", "line"), [(60, 1), (1120, 4)])
def test_lines_grow_with_the_picture_but_those_of_stuff(width, line):
    """A column of outlines between things is white, between stuff thin and dark."""
    ids = np.full((60, width), 7, np.int32)
    ids[:, width // 2 :] = 9
    other = {**STUFF, "id": 7}
    drawn = render_segments(grey(60, width), ids, [other, STUFF], PALETTE)[2]
    assert 2 <= (drawn.max(axis=1) < 90).sum() <= 4
    drawn = render_segments(grey(60, width), ids, [THING, STUFF], PALETTE)[2]
    assert line <= (drawn.min(axis=1) > 180).sum() <= line + 2
    box = np.array([[10.6, 10.0, 40.4, 40.0]])
    drawn = render_boxes(grey(60, width), box, [THING], PALETTE)[35]
    columns = np.nonzero((drawn[:25] == RED).all(axis=1))[0]
    assert len(columns) == (1 if width == 60 else 5) and columns.mean() == 11


def test_labels_say_class_and_score_and_without_room_the_class(monkeypatch):
    said = []
    monkeypatch.setattr(overlay, "label_segments", lambda *arguments: said.append(arguments[2]))
    segments = [{**THING, "score": 0.934}, {**THING, "score": 0.0}, STUFF]
    render_segments(grey(20, 30), np.zeros((20, 30), np.int32), segments, PALETTE)
    assert said == [[["barrel 93%", "barrel"], ["barrel 0%", "barrel"], ["grass", "grass"]]]


def test_a_slanted_edge_has_no_stairs_when_enlarged():
    """Two columns a row: how far each row's end is from a straight line, in pixels."""
    rows, columns = np.indices((20, 20))
    index_map = np.where(2 * rows + columns < 20, 0, 1).astype(np.int32)
    large = overlay._upscale(index_map, 2, (400, 400))
    line = (large == 0).sum(axis=1) + 2 * np.arange(400)
    assert np.ptp(line[40:160]) <= 15, "a stair of the map has 20"
