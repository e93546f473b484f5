"""The merge, on maps small enough to read."""

import numpy as np
import pytest

from detr_d2.pseudo_labels.label_map import LabelMap
from detr_d2.pseudo_labels.merge import MergeRules, Predicted, merge_labels, nearest_pixel

# Category ids of the result.
CRATE, SKY, SOIL, TRUCK, MISC = 50, 3, 11, 8, 60


def grid(text):
    """Integers (H, W) from rows of digits; "." is 0."""
    rows = [row.strip().replace(".", "0") for row in text.strip().splitlines()]
    return np.array([[int(digit) for digit in row] for row in rows], np.int32)


def segment(number, category, score=0.9, isthing=False, name="x"):
    return {
        "id": number,
        "isthing": isthing,
        "category_id": category,
        "name": name,
        "score": score,
    }


def predicted(ids, *segments, things=(), **arrays):
    return Predicted(ids, segments, frozenset(things), **arrays)


def classes(ids, segments):
    """Category ids (H, W) of a merged map."""
    table = {0: 0} | {s["id"]: s["category_id"] for s in segments}
    return np.vectorize(table.get)(ids)


# A crate (7) stands on soil (2) before sky (1); the model takes it for a truck (3), too large.
CUSTOM = grid("""
    ........
    ..777...
    ..777...
    ..777...
    ........
""")
SEEN = grid("""
    11111111
    13333331
    13333332
    23333332
    22222222
""")
CRATES = [{"id": 7, "category_id": CRATE}]
LOOSE = (segment(1, SKY), segment(2, SOIL), segment(3, TRUCK, isthing=True, name="truck"))
NAIVE = MergeRules(overlap=1, halo=0, min_area=0)
PLAIN = MergeRules(halo=0, min_area=0)


def test_object_that_the_model_saw_too_large_leaves_nothing_and_neighbours_fill():
    ids, segments = merge_labels(CUSTOM, CRATES, predicted(SEEN, *LOOSE, things=[TRUCK]), PLAIN)
    # 9 of the truck's 18 pixels lie under the mask. The others go to the nearest of sky and soil.
    expected = grid(
        """
        33333333
        33CCC333
        33CCC331
        13CCC311
        11111111
    """.replace("C", "9")
    )
    found = classes(ids, segments)
    assert set(np.unique(found)) == {CRATE, SKY, SOIL}
    assert (found[CUSTOM == 0] == np.where(expected == 3, SKY, SOIL)[CUSTOM == 0]).mean() > 0.9
    assert found[1, 1] == SKY and found[3, 1] in (SKY, SOIL) and found[2, 6] in (SKY, SOIL)
    assert sum(s["provenance"]["filled"] for s in segments) == 9


def test_naive_rule_leaves_the_border_as_truck():
    ids, segments = merge_labels(CUSTOM, CRATES, predicted(SEEN, *LOOSE, things=[TRUCK]), NAIVE)
    assert (classes(ids, segments) == TRUCK).sum() == 9


def test_custom_masks_keep_every_pixel_and_their_ids():
    for rules in (NAIVE, PLAIN, MergeRules(margin=3), MergeRules(fill="void")):
        ids, segments = merge_labels(CUSTOM, CRATES, predicted(SEEN, *LOOSE), rules)
        assert ((ids == 7) == (CUSTOM == 7)).all()
        assert segments[0]["id"] == 7 and segments[0]["category_id"] == CRATE
        assert segments[0]["provenance"]["source"] == "custom"
        assert len({s["id"] for s in segments}) == len(segments)


def test_thing_that_is_mostly_elsewhere_keeps_what_is_not_covered():
    seen = grid("""
        1111111111
        1333333331
        1333333331
        2222222222
    """)
    custom = np.zeros_like(seen)
    custom[1:3, 1:3] = 7  # 4 of the truck's 16 pixels
    at = predicted(seen, *LOOSE, things=[TRUCK])
    kept = merge_labels(custom, CRATES, at, MergeRules(overlap=0.25, halo=0, min_area=0))
    assert (classes(*kept) == TRUCK).sum() == 12
    gone = merge_labels(custom, CRATES, at, MergeRules(overlap=0.24, halo=0, min_area=0))
    assert (classes(*gone) == TRUCK).sum() == 0


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("halo", "left"), [(0, 7), (1, 0)])
def test_thin_remains_go(halo, left, turned):
    # A long truck, of which the crate hides one end but for a line above it.
    seen, custom = np.full((9, 20), 2, np.int32), np.zeros((9, 20), np.int32)
    seen[2:8, 4:11] = 3
    custom[3:9, 4:11] = 7
    if turned:
        seen, custom = seen.T.copy(), custom.T.copy()
    rules = MergeRules(overlap=0.99, halo=halo, min_area=0)
    merged = merge_labels(custom, CRATES, predicted(seen, *LOOSE, things=[TRUCK]), rules)
    assert (classes(*merged) == TRUCK).sum() == left


@pytest.mark.parametrize(("min_area", "left"), [(9, 9), (10, 0)])
def test_small_islands_beside_the_mask_go_and_others_stay(min_area, left):
    seen, custom = np.full((12, 20), 2, np.int32), np.zeros((12, 20), np.int32)
    seen[2:5, 2:5] = seen[8:10, 15:17] = 1  # sky beside the mask (9 pixels), and far away (4)
    custom[2:5, 5:9] = 7
    rules = MergeRules(halo=0, min_area=min_area)
    merged = merge_labels(custom, CRATES, predicted(seen, *LOOSE[:2]), rules)
    assert (classes(*merged) == SKY).sum() == left + 4


@pytest.mark.parametrize(("min_area", "left"), [(None, 0), (0, 9)])
def test_no_area_at_all_is_not_a_thousandth_of_the_image(min_area, left):
    """Of 120 x 90 pixels a thousandth is 11; nine pixels of sky lie beside the mask."""
    seen, custom = np.full((90, 120), 2, np.int32), np.zeros((90, 120), np.int32)
    seen[2:5, 2:5], custom[2:5, 5:9] = 1, 7
    rules = MergeRules(halo=0, min_area=min_area)
    merged = merge_labels(custom, CRATES, predicted(seen, *LOOSE[:2]), rules)
    assert (classes(*merged) == SKY).sum() == left


def test_margin_takes_things_but_not_stuff():
    seen, custom = np.full((11, 20), 2, np.int32), np.zeros((11, 20), np.int32)
    seen[:, :6] = 1
    seen[3:8, 10:18] = 3
    custom[3:8, 8:10] = 7  # the truck is not covered at all
    rules = MergeRules(halo=0, min_area=0, margin=2)
    merged = merge_labels(custom, CRATES, predicted(seen, *LOOSE, things=[TRUCK]), rules)
    found = classes(*merged)
    assert (found[3:8, 10:12] == SOIL).all() and (found[3:8, 12:18] == TRUCK).all()
    assert (found[:, :6] == SKY).all()


def test_margin_fills_pixels_of_things_only():
    seen, custom = grid("1111222333"), grid("....77....")
    rules = MergeRules(halo=0, min_area=0, margin=3)
    ids, segments = merge_labels(custom, CRATES, predicted(seen, *LOOSE, things=[TRUCK]), rules)
    assert classes(ids, segments).tolist() == [[SKY] * 4 + [CRATE] * 2 + [SOIL] * 3 + [TRUCK]]
    assert sum(s["provenance"]["filled"] for s in segments) == 2


def test_stuff_that_lies_mostly_under_the_masks_stays():
    seen = grid("11112222")
    custom = grid("7777777.")
    merged = merge_labels(custom, CRATES, predicted(seen, *LOOSE[:2]), PLAIN)
    assert classes(*merged).tolist() == [[CRATE] * 7 + [SOIL]]
    assert merged[1][-1]["provenance"]["filled"] == 0


def test_unsure_pixels_of_the_same_object_are_void_rather_than_filled():
    sure = np.where(SEEN == 3, 0.1, 0.9)
    at = predicted(SEEN, *LOOSE, things=[TRUCK], confidence=sure, stuff=SEEN)
    ids, segments = merge_labels(CUSTOM, CRATES, at, PLAIN)
    assert (classes(ids, segments) == 0).sum() == 9


def test_ids_of_the_model_are_none_of_the_custom_ones():
    custom = grid("12..")
    two = [{"id": 1, "category_id": CRATE}, {"id": 2, "category_id": CRATE}]
    ids, _ = merge_labels(custom, two, predicted(grid("1111"), LOOSE[0]), PLAIN)
    assert ids.tolist() == [[1, 2, 3, 3]]


def test_unsure_segments_become_void_and_those_without_a_score_stay():
    seen = grid("1122")
    none = np.zeros_like(seen)
    unsure = predicted(seen, segment(1, SKY, score=0.49), segment(2, SOIL, score=None))
    ids, segments = merge_labels(none, [], unsure, MergeRules(min_score=0.5))
    assert classes(ids, segments).tolist() == [[0, 0, SOIL, SOIL]]
    assert [s["provenance"]["score"] for s in segments] == [None]


def test_unsure_pixels_become_void():
    seen = grid("1122")
    sure = np.array([[0.9, 0.3, 0.9, 0.3]])
    both = predicted(seen, *LOOSE[:2], confidence=sure, stuff=seen)
    merged = merge_labels(np.zeros_like(seen), [], both, MergeRules(min_confidence=0.5))
    assert classes(*merged).tolist() == [[SKY, 0, SOIL, 0]]


def test_next_best_stuff_of_the_model_fills_where_it_is_known():
    best = np.where(np.arange(5)[:, None] < 2, SKY, SOIL) * np.ones((5, 8), np.int32)
    best[1, 1] = 0  # not known there: the nearest is taken
    rules = MergeRules(halo=0, min_area=0, fill="next-best")
    merged = merge_labels(CUSTOM, CRATES, predicted(SEEN, *LOOSE, stuff=best), rules)
    found = classes(*merged)
    assert found[1].tolist() == [SKY, SKY, *[CRATE] * 3, SKY, SKY, SKY]
    assert found[2].tolist() == [SKY, SOIL, *[CRATE] * 3, SOIL, SOIL, SOIL]


def test_fill_with_void():
    rules = MergeRules(halo=0, min_area=0, fill="void")
    merged = merge_labels(CUSTOM, CRATES, predicted(SEEN, *LOOSE, things=[TRUCK]), rules)
    assert (classes(*merged) == 0).sum() == 9


def test_without_any_stuff_there_is_nothing_to_fill_with():
    seen = np.full((5, 8), 3, np.int32)
    merged = merge_labels(CUSTOM, CRATES, predicted(seen, LOOSE[2]), MergeRules(overlap=0.2))
    assert set(np.unique(classes(*merged))) == {0, CRATE}


def test_classes_that_become_the_same_stuff_are_one_segment_with_their_mean_score():
    seen = grid("1112")
    both = predicted(
        seen, segment(1, MISC, 0.9, True, "truck"), segment(2, MISC, 0.5, True, "person")
    )
    ids, segments = merge_labels(np.zeros_like(seen), [], both, MergeRules())
    assert ids.tolist() == [[1, 1, 1, 1]]
    assert segments == [
        {
            "id": 1,
            "category_id": MISC,
            "iscrowd": 0,
            "provenance": {
                "source": "model",
                "classes": ["person", "truck"],
                "score": 0.8,  # (3 x 0.9 + 1 x 0.5) / 4
                "filled": 0,
            },
        }
    ]


def test_things_that_are_kept_stay_apart_and_void_classes_vanish():
    seen = grid("1123")
    three = (segment(1, TRUCK, isthing=True), segment(2, TRUCK, isthing=True), segment(3, None))
    merged = merge_labels(
        np.zeros_like(seen), [], predicted(seen, *three, things=[TRUCK]), MergeRules()
    )
    assert merged[0].tolist() == [[1, 1, 2, 0]]


def test_the_mean_score_is_of_the_pixels_whose_score_is_known():
    seen = grid("1112")
    both = predicted(seen, segment(1, SKY, None), segment(2, SKY, 0.6))
    _, (sky,) = merge_labels(np.zeros_like(seen), [], both, MergeRules())
    assert sky["provenance"]["score"] == 0.6


@pytest.mark.parametrize("turned", [False, True])
def test_what_counts_as_thin_or_small_grows_with_the_image(turned):
    """200 x 600 pixels: pieces of up to 4 pixels in width, and of fewer than 120, go."""
    seen, custom = np.full((200, 600), 2, np.int32), np.zeros((200, 600), np.int32)
    custom[50:100, 100:200] = 7
    widths = {3: 100, 5: 120, 7: 140}
    for width, left in widths.items():
        seen[10:50, left : left + width] = 1
    # Thick enough, but of 11 x 10 pixels; the other has 12 x 10.
    seen[100:111, 110:120] = seen[100:112, 150:160] = 1
    if turned:
        seen, custom = seen.T.copy(), custom.T.copy()
    merged = merge_labels(custom, CRATES, predicted(seen, *LOOSE[:2]), MergeRules())
    assert (classes(*merged) == SKY).sum() == 40 * 5 + 40 * 7 + 12 * 10


def test_nothing_custom_nothing_predicted():
    empty = np.zeros((3, 5), np.int32)
    ids, segments = merge_labels(empty, [], predicted(empty), MergeRules(margin=1))
    assert segments == [] and not ids.any()


def test_crowds_stay_crowds_and_ids_up_to_the_last_are_kept():
    custom = grid("7....")
    custom[custom == 7] = 256**3 - 1
    crowd = [{"id": 256**3 - 1, "category_id": CRATE, "iscrowd": 1}]
    ids, segments = merge_labels(custom, crowd, predicted(grid("11111"), LOOSE[0]), PLAIN)
    assert ids.tolist() == [[256**3 - 1, 1, 1, 1, 1]]
    assert [s["iscrowd"] for s in segments] == [1, 0]


def test_nearest_pixel():
    sources, wanted = grid("1...1") > 0, grid(".111.") > 0
    rows, columns = nearest_pixel(sources, wanted)
    assert rows.tolist() == [0, 0, 0] and columns[[0, 2]].tolist() == [0, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"overlap": 1.5}, r"overlap 1.5, must be in 0..1"),
        ({"halo": -1, "margin": -2}, r"halo -1, .*; margin -2, must be 0 or more pixels"),
        ({"fill": "sky"}, r"fill 'sky', allowed: .*nearest"),
    ],
)
def test_rules_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        MergeRules(**arguments)


def test_other_size():
    with pytest.raises(ValueError, match=r"masks \(5, 8\) and prediction \(1, 4\) differ"):
        merge_labels(CUSTOM, CRATES, predicted(grid("1111"), LOOSE[0]), MergeRules())


def test_as_sure_as_the_rules_ask_is_sure_enough():
    seen = grid("1122")
    both = predicted(
        seen,
        segment(1, SKY, score=0.5),
        segment(2, SOIL, score=0.5),
        confidence=np.array([[0.25, 0.24, 0.25, 0.9]]),
    )
    merged = merge_labels(np.zeros_like(seen), [], both, MergeRules(min_confidence=0.25))
    assert classes(*merged).tolist() == [[SKY, 0, SOIL, SOIL]]


def remains_of(size, strip):
    """Pixels that are left of a truck, of which this strip sticks out of the crate, by default."""
    seen, custom = np.full(size, 2, np.int32), np.zeros(size, np.int32)
    height, width = strip
    custom[20:30, 4 : 4 + width] = 7
    seen[20 - height : 20, 4 : 4 + width] = 3
    seen[20:21, 4:5] = 3
    merged = merge_labels(custom, CRATES, predicted(seen, *LOOSE, things=[TRUCK]), MergeRules())
    return int((classes(*merged) == TRUCK).sum())


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("size", "strip", "left"),
    [
        # 1 % of the shorter side is 2 pixels, twice that is too thin; 0.1 % of the area is 60.
        ((200, 300), (4, 40), 0),
        ((200, 300), (5, 40), 200),
        ((200, 300), (6, 9), 0),
        ((200, 300), (6, 10), 60),
        # At least one pixel.
        ((40, 45), (2, 20), 0),
        ((40, 45), (3, 20), 60),
    ],
)
def test_what_is_thin_and_small_grows_with_the_image(size, strip, left, turned):
    assert remains_of(size[::-1] if turned else size, strip) == left


def test_pieces_that_touch_at_a_corner_are_two():
    seen, custom = (
        grid("""
        2222222222
        2221111111
        2221111111
        2112222222
        2112222222
        2222222222
    """),
        np.zeros((6, 10), np.int32),
    )
    custom[3:5, 0] = 7
    rules = MergeRules(halo=0, min_area=5)
    found = classes(*merge_labels(custom, CRATES, predicted(seen, *LOOSE[:2]), rules))
    assert (found == SKY).sum() == 14 and (found[3:5, 1:3] == SOIL).all()


def test_margin_is_a_disc():
    custom = np.zeros((7, 7), np.int32)
    custom[3, 3] = 7
    seen = np.full((7, 7), 3, np.int32)
    rules = MergeRules(halo=0, min_area=0, margin=2, fill="void")
    merged = merge_labels(custom, CRATES, predicted(seen, LOOSE[2], things=[TRUCK]), rules)
    found = classes(*merged)
    assert found[1, 3] == found[3, 1] == found[3, 5] == found[2, 2] == 0
    assert found[1, 1] == found[1, 5] == found[5, 5] == found[0, 3] == TRUCK


def test_stuff_that_becomes_void_fills_nothing():
    seen, custom = grid("1133332"), grid("...77..")
    three = (segment(1, None), segment(2, SOIL), segment(3, TRUCK, isthing=True))
    merged = merge_labels(custom, CRATES, predicted(seen, *three, things=[TRUCK]), PLAIN)
    assert classes(*merged).tolist() == [[0, 0, SOIL, CRATE, CRATE, SOIL, SOIL]]
    assert merged[1][-1]["provenance"]["filled"] == 2


def test_ids_are_the_lowest_that_are_free_and_fillings_add_up():
    labels = LabelMap(grid("1.3...."), [{"id": n, "category_id": CRATE} for n in (1, 3)])
    labels.add_model(grid(".1.2..."), [segment(1, SKY, 0.12344), segment(2, SOIL)], [])
    labels.fill(grid("....11.") > 0, 2)
    labels.fill(grid("......1") > 0, np.array([2]))
    assert labels.ids.tolist() == [[1, 2, 3, 4, 2, 2, 2]]
    sky, soil = labels.finish()[2:]
    assert (sky["id"], sky["provenance"]["filled"], sky["provenance"]["score"]) == (2, 3, 0.1234)
    assert (soil["id"], soil["provenance"]["filled"]) == (4, 0)


@pytest.mark.parametrize(
    ("rules", "needed"),
    [
        ({}, True),
        ({"min_confidence": 0.0}, False),
        ({"min_confidence": 0.0, "fill": "next-best"}, True),
        ({"min_confidence": 0.01, "fill": "void"}, True),
    ],
)
def test_rules_that_need_scores_of_every_pixel(rules, needed):
    assert MergeRules(**rules).per_pixel == needed


def test_the_rules_of_the_documents():
    assert MergeRules() == MergeRules(
        overlap=0.2, halo=None, min_area=None, margin=0, min_score=0.5, min_confidence=0.3
    )


@pytest.mark.parametrize("key", ["overlap", "min_score", "min_confidence"])
def test_shares_are_at_most_one_and_sizes_not_negative(key):
    for value in (-0.01, 1.01):
        with pytest.raises(ValueError, match=rf"{key} {value}, must be in 0\.\.1"):
            MergeRules(**{key: value})
    for value in (0, 1):
        MergeRules(**{key: value})


@pytest.mark.parametrize("key", ["halo", "min_area", "margin"])
def test_sizes_are_not_negative(key):
    with pytest.raises(ValueError, match=f"{key} -1, must be 0 or more pixels"):
        MergeRules(**{key: -1})
    MergeRules(**{key: 0})
