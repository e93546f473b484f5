"""Figures about labels, on maps small enough to count manually. 1 crate, 2 truck, 3 sky, 4 soil."""

import numpy as np
import pytest

from detr_d2.pseudo_labels.label_quality import LabelQuality, class_map

NAMES = ("crate", "truck", "sky", "soil")


def quality(band=1):
    return LabelQuality(NAMES, frozenset({"truck"}), band)


def grid(*rows):
    return np.array([[int(digit) for digit in row] for row in rows])


GROUND_TRUTH = grid("333333", "311332", "444442")
LABELS = grid("333333", "311232", "444402")
CUSTOM = GROUND_TRUTH == 1


def test_hand_counted():
    measured = quality()
    measured.add(GROUND_TRUTH, LABELS, CUSTOM)
    figures = measured.figures()
    # 14 stuff pixels of the ground truth: one is labelled as truck, one is void.
    assert figures["stuff_accuracy"] == pytest.approx(100 * 12 / 14)
    assert figures["IoU of truck"] == pytest.approx(100 * 2 / 3)
    assert figures["IoU of sky"] == pytest.approx(100 * 8 / 9)
    assert figures["IoU of soil"] == pytest.approx(100 * 4 / 5)
    assert "IoU of crate" not in figures  # given, not measured
    assert figures["mIoU"] == pytest.approx(100 * (2 / 3 + 8 / 9 + 4 / 5) / 3)
    # Six pixels share an edge with the crate; the false truck is one of them, the real one none.
    assert (figures["band_pixels"], figures["leaked_pixels"]) == (6, 1)
    assert figures["leaked"] == pytest.approx(100 / 6)
    assert figures["void"] == pytest.approx(100 / 16)


def test_real_things_beside_the_mask_are_no_leak():
    ground_truth = grid("3312233")
    measured = quality(band=2)
    measured.add(ground_truth, ground_truth, ground_truth == 1)
    figures = measured.figures()
    assert figures["leaked"] == 0
    assert figures["things in band"] == 50


def test_another_thing_than_the_one_that_is_there_is_a_leak():
    measured = LabelQuality(NAMES, frozenset({"crate", "truck"}), band=1)
    custom = np.array([[True, False, False]])
    measured.add(grid("112"), grid("122"), custom)
    assert (measured.figures()["leaked"], measured.figures()["things in band"]) == (100, 100)


def test_ground_truth_that_is_void_is_neither_right_nor_wrong():
    measured = quality()
    measured.add(grid("0034"), grid("3434"), np.zeros((1, 4), bool))
    assert measured.figures()["mIoU"] == 100
    assert measured.figures()["stuff_accuracy"] == 100


def test_images_add_up_and_none_is_fine():
    measured = quality()
    assert measured.figures()["stuff_accuracy"] == 0
    for _ in range(2):
        measured.add(GROUND_TRUTH, LABELS, CUSTOM)
    measured.add(grid("33"), grid("33"), np.zeros((1, 2), bool))
    assert measured.figures()["stuff_accuracy"] == pytest.approx(100 * 26 / 30)
    assert measured.figures()["leaked_pixels"] == 2


def test_class_map():
    ids = np.array([[0, 7, 9]])
    assert class_map(ids, {7: "sky", 9: "unknown"}, NAMES).tolist() == [[0, 3, 0]]
