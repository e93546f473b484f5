"""Our counts of panoptic quality against panopticapi's, and manually."""

import copy
import json
from collections import Counter

import numpy as np
import pytest
from random_panoptic import CATEGORIES, make_random_set, save_ids

from detr_d2.evaluation import pq
from detr_d2.evaluation.pq import PanopticGroundTruth, panoptic_quality
from detr_d2.evaluation.pq_counts import IOU_UNIT, PanopticCounts, PanopticMap, count_image

evaluation = pytest.importorskip("panopticapi.evaluation")
KINDS = {
    "both": CATEGORIES,
    "things": [c for c in CATEGORIES if c["isthing"]],
    "stuff": [c for c in CATEGORIES if not c["isthing"]],
}


def theirs(root, content, found):
    """panopticapi's sums of all images by category: iou, tp, fp, fn."""
    ground_truth, found = copy.deepcopy((content["annotations"], found))
    by_id = {category["id"]: category for category in content["categories"]}
    folders = str(root / "ground_truth"), str(root / "found")
    pairs = list(zip(ground_truth, found, strict=True))
    return evaluation.pq_compute_single_core(0, pairs, *folders, by_id)


def ours(root, content, found):
    return panoptic_quality(content, found, str(root / "ground_truth"), str(root / "found"))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_those_of_panopticapi(tmp_path, seed, kind):
    content, found = make_random_set(tmp_path, seed, categories=KINDS[kind])
    expected, counts = theirs(tmp_path, content, found), ours(tmp_path, content, found)
    for category in KINDS[kind]:
        number = category["id"]
        one = expected[number]
        mine = counts.tp[number], counts.fp[number], counts.fn[number]
        assert mine == (one.tp, one.fp, one.fn), category
        assert counts.iou[number] * IOU_UNIT == pytest.approx(one.iou, abs=1e-12)


def test_the_random_sets_have_what_the_rules_are_about(tmp_path):
    """Else the comparison above would say little."""
    found = PanopticCounts()
    crowds = []
    for seed in range(12):
        content, predictions = make_random_set(tmp_path / str(seed), seed)
        found.update(ours(tmp_path / str(seed), content, predictions))
        for annotation in content["annotations"]:
            names = [s["category_id"] for s in annotation["segments_info"] if s["iscrowd"]]
            crowds.append(len(names) - len(set(names)))
    assert min(sum(table.values()) for table in (found.tp, found.fp, found.fn)) > 50
    assert max(crowds) > 0, "two crowds of one category in an image"


def test_averages_are_those_of_pq_compute(tmp_path, capsys):
    content, found = make_random_set(tmp_path, 5, images=6)
    paths = [
        str(tmp_path / name)
        for name in ("ground_truth.json", "found.json", "ground_truth", "found")
    ]
    expected = evaluation.pq_compute(*paths)
    average = ours(tmp_path, content, found).average(content["categories"])
    assert 0.2 < average["All"]["pq"] < 0.9
    for group in ("All", "Things", "Stuff"):
        assert average[group] == pytest.approx(expected[group], abs=1e-12)


def test_areas_of_the_json_are_not_believed(tmp_path):
    content, found = make_random_set(tmp_path, 3)
    expected = theirs(tmp_path, content, found)
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["area"] = 1
    counts = ours(tmp_path, content, found)
    for category in CATEGORIES:
        one = expected[category["id"]]
        assert counts.tp[category["id"]] == one.tp
        assert counts.iou[category["id"]] * IOU_UNIT == pytest.approx(one.iou, abs=1e-12)


def test_any_order_and_any_split_gives_the_same_bits(tmp_path):
    content, found = make_random_set(tmp_path, 9, images=8)
    reference = PanopticGroundTruth(content, str(tmp_path / "ground_truth"))
    parts = []
    for prediction in found:
        ids = pq.read_ids(tmp_path / "found" / prediction["file_name"])
        parts.append(reference.count(prediction["image_id"], ids, prediction["segments_info"]))
    whole, halves = PanopticCounts(), [PanopticCounts(), PanopticCounts()]
    for place, part in enumerate(parts):
        whole.update(part)
        halves[place % 2].update(part)
    halves[1].update(halves[0])
    assert halves[1].average(CATEGORIES) == whole.average(CATEGORIES)
    assert halves[1] == whole == ours(tmp_path, content, found)


def row(*ids):
    return np.array([ids], np.int32)


def segment(number, category, iscrowd=0):
    return {"id": number, "category_id": category, "iscrowd": iscrowd}


def count(ground_truth, expected, ids, segments):
    left, right = PanopticMap(ground_truth, expected), PanopticMap(ids, segments)
    return count_image(left, right, {1, 2}, "x.png")


def test_iou_by_hand_without_void():
    # Three shared; of the union of five one pixel is void: 3 / 4.
    counts = count(row(7, 7, 7, 0, 7, 0), [segment(7, 1)], row(1, 1, 1, 1, 0, 0), [segment(1, 1)])
    assert (counts.tp, counts.fp, counts.fn) == ({1: 1}, {}, {})
    assert counts.iou[1] * IOU_UNIT == 0.75
    assert counts.quality(1) == {"pq": 0.75, "sq": 0.75, "rq": 1}
    assert counts.quality(2) is None


def test_half_is_no_match():
    # Shared 2 of 4; the union has no void.
    counts = count(
        row(7, 7, 7, 2), [segment(7, 1), segment(2, 2)], row(1, 1, 0, 1), [segment(1, 1)]
    )
    assert (counts.tp, counts.fp, counts.fn) == ({}, {1: 1}, {1: 1, 2: 1})
    assert counts.quality(1) == {"pq": 0, "sq": 0, "rq": 0}


@pytest.mark.parametrize(("void", "wrong"), [(2, 1), (3, 0)])
def test_a_prediction_mostly_on_void_does_not_count(void, wrong):
    ground_truth = row(*[0] * void, *[7] * (4 - void), 7, 7, 7, 7, 7, 7)
    ids = row(1, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    counts = count(ground_truth, [segment(7, 2)], ids, [segment(1, 1)])
    assert counts.fp[1] == wrong
    assert counts.fn == {2: 1}


def test_only_the_last_crowd_of_its_category_forgives():
    ground_truth = row(5, 5, 5, 6, 6, 6, 8, 8, 8, 9)
    ids = row(1, 1, 1, 2, 2, 2, 3, 3, 3, 0)
    segments = [segment(1, 1), segment(2, 1), segment(3, 1)]
    first_last = [segment(6, 1, 1), segment(5, 1, 1), segment(8, 2, 1), segment(9, 2)]
    counts = count(ground_truth, first_last, ids, segments)
    # Segment 1 lies on the crowd listed last; 2 on the other one, 3 on one of another category.
    assert (counts.tp, counts.fp, counts.fn) == ({}, {1: 2}, {2: 1})


def test_an_id_that_the_ground_truth_does_not_list_is_not_void():
    counts = count(row(4, 4, 4, 7), [segment(7, 1)], row(1, 1, 1, 1), [segment(1, 1)])
    assert (counts.fp, counts.fn) == ({1: 1}, {1: 1})


def test_predicted_id_0_may_be_a_segment():
    counts = count(row(7, 7, 4), [segment(7, 1)], row(0, 0, 0), [segment(0, 1)])
    assert counts.tp == {1: 1}
    assert counts.iou[1] * IOU_UNIT == 2 / 3


def test_nothing_on_either_side_and_no_pixels():
    for ids in (row(0, 0), row(), np.zeros((0, 4), np.int32)):
        assert count(ids, [], ids, []) == PanopticCounts()


def test_a_ground_truth_segment_without_pixels_is_missed():
    assert count(row(0, 0), [segment(7, 1)], row(0, 0), []).fn == {1: 1}


@pytest.mark.parametrize(
    ("ids", "segments", "message"),
    [
        (row(1, 1, 3), [segment(1, 1)], r"x\.png: predicted ids \[3\] have no segment"),
        (row(1, 1, 0), [segment(1, 1), segment(2, 1)], r"x\.png: .*\[2\] are listed, but"),
        (
            row(1, 1, 1),
            [segment(1, 5)],
            r"predicted segment 1 has category 5, allowed: \[1, 2\]",
        ),
        (row(1, 1), [segment(1, 1)], r"x\.png: ground truth of \(1, 3\), prediction of \(1, 2\)"),
    ],
)
def test_a_prediction_that_disagrees_with_itself_is_named(ids, segments, message):
    with pytest.raises(ValueError, match=message):
        count(row(7, 7, 7), [segment(7, 1)], ids, segments)


def test_an_unknown_category_of_the_ground_truth_is_named():
    with pytest.raises(ValueError, match="ground-truth segment 7 has category 9"):
        count(row(7), [segment(7, 9)], row(0), [])


def one_image(segments):
    annotation = {"image_id": 4, "file_name": "d.png", "segments_info": segments}
    return {"categories": [{"id": 1, "isthing": 1}], "annotations": [annotation]}


def test_missing_and_double_predictions_and_segment_id_0_are_named():
    with pytest.raises(ValueError, match=r"segment id 0.*d\.png"):
        panoptic_quality(one_image([segment(0, 1)]), [{"image_id": 4}], "a", "b")
    content = one_image([segment(1, 1)])
    with pytest.raises(ValueError, match=r"no prediction for 1 image.*\[4\]"):
        panoptic_quality(content, [], "a", "b")
    with pytest.raises(ValueError, match=r"1 image.*predicted twice.*\[4\]"):
        panoptic_quality(content, [{"image_id": 4}, {"image_id": 4}], "a", "b")


def test_each_png_is_read_once_and_other_images_are_ignored(tmp_path, monkeypatch):
    content, found = make_random_set(tmp_path, 1)
    read = []

    def note(path):
        read.append(path)
        return read_ids(path)

    read_ids = pq.read_ids
    monkeypatch.setattr(pq, "read_ids", note)
    other = {"image_id": "other", "file_name": "absent.png", "segments_info": []}
    assert ours(tmp_path, content, [*found, other]) == ours(tmp_path, content, found)
    assert len(read) == 2 * 2 * len(found)
    assert len(set(read)) == 2 * len(found)


def test_a_map_of_noise_is_counted_too(tmp_path):
    """Every run of equal pixels is one pixel long there."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, (31, 17))
    save_ids(tmp_path / "ground_truth/a.png", ids)
    save_ids(tmp_path / "found/a.png", ids.max() - ids)
    content = one_image([segment(1, 1), segment(2, 1)])
    content["annotations"][0]["file_name"] = "a.png"
    for entry in content["annotations"][0]["segments_info"]:
        entry["area"] = int((ids == entry["id"]).sum())
    found = json.loads(json.dumps(content["annotations"]))
    expected, counts = theirs(tmp_path, content, found), ours(tmp_path, content, found)
    assert counts.tp[1] == expected[1].tp == 1
    assert counts.iou[1] * IOU_UNIT == expected[1].iou
    assert (counts.fp[1], counts.fn[1]) == (expected[1].fp, expected[1].fn)


def test_of_many_images_five_are_named():
    annotations = [
        {"image_id": n, "file_name": f"{n}.png", "segments_info": [segment(min(n, 1), 1)]}
        for n in (0, *range(10, 17))
    ]
    content = {"categories": [{"id": 1, "isthing": 1}], "annotations": annotations[1:]}
    truth = PanopticGroundTruth(content, "a")
    with pytest.raises(ValueError, match=r"no prediction for 6 .* first: \[10, 12, 13, 14, 15\]$"):
        truth.check_complete([11])
    with pytest.raises(ValueError, match=r"^7 image.* twice, the first: \[10, 11, 12, 13, 14\]$"):
        truth.check_complete(list(range(10, 17)) * 3)
    void = [{**a, "segments_info": [segment(3, 1), segment(0, 1)]} for a in annotations[1:]]
    with pytest.raises(ValueError, match=r"for 7 PNG\(s\), first: \['10.png', .* '14.png'\]$"):
        PanopticGroundTruth({**content, "annotations": [*void, annotations[1]]}, "a")


@pytest.mark.parametrize(("cpus", "threads"), [(None, 1), (1, 1), (3, 3), (64, 4)])
def test_threads_are_few_on_a_large_machine(monkeypatch, cpus, threads):
    monkeypatch.setattr(pq.os, "cpu_count", lambda: cpus)
    assert pq.count_threads() == threads


def test_segments_are_no_crowds_unless_they_say_so():
    entry = {"id": 7, "category_id": 1}
    assert count(row(7, 7, 0), [entry], row(1, 1, 0), [{"id": 1, "category_id": 1}]).tp == {1: 1}


def test_a_kind_of_which_there_is_nothing_has_no_average():
    counts = PanopticCounts(fn=Counter({3: 1}))
    average = counts.average([{"id": 3, "isthing": 1}, {"id": 4, "isthing": 0}])
    nothing = dict.fromkeys(("pq", "sq", "rq"), 0)
    assert average["All"] == average["Things"] == {**nothing, "n": 1}
    assert average["Stuff"]["n"] == 0
    assert np.isnan([average["Stuff"][name] for name in nothing]).all()


def test_of_many_ids_without_a_segment_five_are_named():
    with pytest.raises(ValueError, match=r"predicted ids \[1, 2, 3, 4, 5\] have no segment listed"):
        count(row(*[7] * 7), [segment(7, 1)], row(9, 7, 5, 4, 3, 2, 1), [])


def test_categories_of_large_ids_are_told_apart():
    left, right = (
        PanopticMap(row(7, 7), [segment(7, 300)]),
        PanopticMap(row(1, 1), [segment(1, 44)]),
    )
    counts = count_image(left, right, {44, 300}, "x.png")
    assert (counts.tp, counts.fp, counts.fn) == ({}, {44: 1}, {300: 1})
