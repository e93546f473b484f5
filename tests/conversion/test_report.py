"""What conversion.json counts, result by result."""

from detr_d2.conversion.formats.base import Skipped
from detr_d2.conversion.report import BadAnnotations, Tally, describe_groups, describe_report
from detr_d2.conversion.splits import Split, split_by_group
from detr_d2.data.categories import CategoryTable

TABLE = CategoryTable(
    [{"id": 3, "name": "nut", "isthing": 1}, {"id": 7, "name": "sky", "isthing": 0}]
)


def result(sample, *categories, void=0.0, lost=(), bad=()):
    segments = [{"category_id": category} for category in categories]
    return {
        "sample": sample,
        "annotation": {"segments_info": segments},
        "void": void,
        "hash": 0,
        "lost": list(lost),
        "bad": list(bad),
    }


def tally():
    """Two images that are converted, and three that are not, the first found by the format."""
    counts = Tally(TABLE, [Skipped("z.jpg", "no mask")])
    counts.add({"sample": "c.jpg", "reason": "d/c.png: damaged at byte 7"})
    counts.add(result("a.jpg", 3, 3, 7, void=0.25, lost=[("hidden by others", 3, 2)]))
    counts.add({"sample": "b.jpg", "reason": "d/b.png: damaged at byte 12"})
    more = [("hidden by others", 3, 3), ("hidden by others", 7, 1), ("without pixels", 7, 1)]
    bad = ["x.json: shape 3 is a star", "x.json: shape 5 is a star", "y.json: no label"]
    counts.add(result("d.jpg", 3, void=0.5, lost=more, bad=bad))
    return counts


def test_images_segments_and_what_was_lost_are_counted():
    report = tally().finish(None)
    assert (report.images_in, report.images_out) == (4, 2)
    assert report.segments == {"nut": 3, "sky": 1}
    assert report.images_with == {"nut": 2, "sky": 1}
    # The mean of a quarter and a half.
    assert report.void_share == 0.375
    assert report.parts == {}
    assert report.lost_annotations == {
        "hidden by others": {"nut": 5, "sky": 1},
        "without pixels": {"sky": 1},
    }
    assert report.bad_annotations == [
        BadAnnotations(2, "x.json: shape 3 is a star"),
        BadAnnotations(1, "y.json: no label"),
    ]
    assert [skipped.name for skipped in report.skipped] == ["b.jpg", "c.jpg", "z.jpg"]


def test_the_report_as_text():
    lines = describe_report(tally().finish(Split(0.5))).splitlines()
    assert lines[1].split() == ["nut", "3", "2"] and lines[2].split() == ["sky", "1", "1"]
    assert lines[3:6] == [
        "2 of 4 images, 37.5 % void",
        "train: 1, val: 1",
        "annotations hidden by others: nut 5, sky 1",
    ]
    assert lines[6:9] == [
        "annotations without pixels: sky 1",
        "bad annotations skipped: 2 x x.json: shape 3 is a star",
        "bad annotations skipped: 1 x y.json: no label",
    ]
    # Reasons that differ only in names and numbers are one, the most frequent first.
    assert lines[-3:] == [
        "3 skipped, all listed in conversion.json:",
        "  2 x b.jpg: d/b.png: damaged at byte 12",
        "  1 x z.jpg: no mask",
    ]


def test_parts_are_in_order_whichever_image_comes_first():
    for seed in range(6):
        counts = tally()
        counts.add(result("e.jpg", 3))
        text = describe_report(counts.finish(Split(0.7, seed)))
        assert "\ntrain: 2, val: 1\n" in text


def test_many_reasons_are_ten_with_the_number_of_the_others():
    skipped = [Skipped(f"{letter}.jpg", f"fault {letter}") for letter in "abcdefghijkl"]
    lines = describe_groups([*skipped, skipped[-1]])
    assert lines[0] == "2 x l.jpg: fault l" and len(lines) == 11
    assert lines[-1] == "... and 2 more reasons"
    assert len(describe_groups(skipped[:10])) == 10


def test_a_group_goes_to_training_while_that_is_nearer_to_its_share():
    """Half of five is 2.5: four are 1.5 too many and one is 1.5 too few, whichever comes first."""
    chosen = {sum(split_by_group("aaaab", 0.5, seed)) for seed in range(20)}
    assert chosen == {1, 4}
    # Whole groups, and neither part is empty.
    assert {sum(split_by_group("aab", 0.99, seed)) for seed in range(20)} <= {1, 2}
    assert {sum(split_by_group("aab", 0.01, seed)) for seed in range(20)} <= {1, 2}
