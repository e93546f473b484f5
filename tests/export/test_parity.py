"""How PyTorch and ONNX are compared: with hand-made maps, without ONNX."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from random_panoptic import save_ids

from detr_d2.evaluation.pq import PanopticGroundTruth
from detr_d2.evaluation.pq_counts import PanopticMap
from detr_d2.export import parity
from detr_d2.export.parity import Parity, measure_parity, noise_images

# Contiguous: nut 0, wall 1.
CATEGORIES = [{"id": 7, "name": "nut", "isthing": 1}, {"id": 30, "name": "wall", "isthing": 0}]
IDS = np.array([[1, 1, 2], [1, 1, 2]], np.int32)


def segments(*pairs):
    return [{"id": number, "category_id": category} for number, category in pairs]


def test_the_largest_difference_of_all_images_counts():
    found = Parity(CATEGORIES)
    for a, b in (([1, 2.5], [1, 2]), ([3], [5]), ([4], [4]), ([], [])):
        found.note_difference("boxes", np.array(a), np.array(b))
    found.note_difference("classes", np.array([200], np.uint8), np.array([201], np.uint8))
    assert found.differences == {"boxes": 2, "classes": 1}


def test_maps_are_compared_both_ways():
    found = Parity(CATEGORIES)
    both, one = segments((1, 7), (2, 30)), segments((1, 7))
    found.note_maps(PanopticMap(IDS, both), PanopticMap(np.where(IDS == 1, 1, 0), one), "a.png")
    assert (found.pixels, found.equal_pixels) == (6, 4)
    assert found.segments == {"pytorch": 2, "onnx": 1}
    # What ONNX has missed lies on void if it is the ground truth, and is forgiven.
    there, back = found.onnx_against_pytorch, found.pytorch_against_onnx
    assert (there.fn, there.fp, back.fn, back.fp) == ({30: 1}, {}, {}, {})
    found.seconds = {"pytorch": [2.0], "onnx": [1.0]}
    report = found.report()
    assert report["share_of_equal_pixels"] == pytest.approx(4 / 6)
    assert report["pq_of_onnx_against_pytorch"] == 50
    assert report["pq_of_pytorch_against_onnx"] == 100


def test_a_report_of_few_images_or_of_nothing():
    found = Parity(CATEGORIES)
    found.seconds = {"pytorch": [1.0, 9.0, 2.0], "onnx": [0.5, 0.1, 0.2]}
    report = json.loads(json.dumps(found.report(), allow_nan=False))
    assert report["images"] == 3
    assert report["seconds_per_image"] == {"pytorch": 2, "onnx": 0.2}
    assert report["pq_of_onnx_against_pytorch"] is report["pq_on_ground_truth"] is None
    assert report["share_of_equal_pixels"] == 0


@pytest.mark.parametrize("known", [False, True])
def test_images_find_their_ground_truth_by_their_names(tmp_path, monkeypatch, known):
    """PyTorch finds all; ONNX takes the wall of the second image for a nut."""
    names = {"x/a.jpg": 5, "b.jpg": 9}
    entries = segments((1, 7), (2, 30))
    content = {
        "images": [{"id": i, "file_name": f"deep/{n[-5]}.png"} for n, i in names.items()][::-1],
        "categories": CATEGORIES,
        "annotations": [
            {"image_id": i, "file_name": f"{i}.png", "segments_info": entries} for i in (5, 9)
        ],
    }
    for number, ids in ((5, IDS), (9, IDS[:, ::-1])):
        save_ids(tmp_path / f"{number}.png", ids)
    images = [(name, np.full((2, 3, 3), number, np.uint8)) for name, number in names.items()]

    def ids_of(image):
        return IDS if image[0, 0, 0] == 5 else IDS[:, ::-1].copy()

    class Model:
        categories = CATEGORIES

        def __init__(self, folder):
            assert folder == tmp_path

        def __call__(self, image):
            ids = ids_of(np.asarray(image))
            return ids, segments((1, 7), (2, 30 if ids is IDS else 7))

    def predictor(image):
        found = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 1}]
        return {"panoptic_seg": (torch.from_numpy(ids_of(image)), found)}

    predictor.model, predictor.reverse = None, False
    graph = SimpleNamespace(eval=lambda: None)
    monkeypatch.setattr(parity, "DetectionGraph", lambda model, reverse: graph)
    monkeypatch.setattr(parity, "_compare_outputs", lambda *arguments: None)
    monkeypatch.setattr(parity.runpy, "run_path", lambda path: {"PanopticModel": Model})
    truth = PanopticGroundTruth(content, str(tmp_path)) if known else None
    report = measure_parity(predictor, tmp_path, images, truth).report()
    assert report["images"] == 2 and report["share_of_equal_pixels"] == 1
    # Of two walls one is found, of two nuts both and one too many: 2/3 and 2/2.5.
    expected = pytest.approx(100 * (1 / 1.5 + 2 / 2.5) / 2)
    assert report["pq_of_onnx_against_pytorch"] == expected
    assert report["pq_on_ground_truth"] == ({"pytorch": 100, "onnx": expected} if known else None)
    assert all(0 <= seconds < 60 for seconds in report["seconds_per_image"].values())


def test_images_of_noise_are_the_same_every_time_and_of_all_shapes():
    one, other = noise_images(), noise_images()
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(one, other, strict=True))
    for name, image in one:
        assert name == f"noise {image.shape[1]} x {image.shape[0]}" and image.std() > 20
    kinds = {np.sign(image.shape[1] - image.shape[0]) for _, image in one}
    assert len(one) == 5 and kinds == {-1, 1}
