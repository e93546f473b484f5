import copy
import math

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator

from detr_d2.evaluation import pq
from detr_d2.evaluation.panoptic import PanopticEvaluator


def worsen(record, output):
    """Shift the map by two columns, and take the first segment for the other class of its kind."""
    ids, segments = output["panoptic_seg"]
    wrong = [dict(s) for s in segments]
    if wrong:
        first = wrong[0]
        first["category_id"] = {0: 1, 1: 0, 2: 3, 3: 2}[first["category_id"]]
    shifted = torch.roll(ids, 2, dims=1)
    return {**output, "panoptic_seg": (shifted, wrong)}


def test_figures_are_those_of_detectron2(tiny_set, register, evaluate, tmp_path):
    name = register(**tiny_set.paths())
    outputs = []

    def keep(record, output):
        outputs.append(copy.deepcopy(worsen(record, output)))
        return copy.deepcopy(outputs[-1])

    ours = evaluate(name, ["panoptic"], keep)["panoptic_seg"]

    theirs = COCOPanopticEvaluator(name, str(tmp_path))
    theirs.reset()
    theirs.process(DatasetCatalog.get(name), outputs)
    expected = theirs.evaluate()["panoptic_seg"]
    assert 1 < expected["PQ"] < 99
    assert ours == pytest.approx(expected)


def test_images_of_one_base_name_in_two_folders(tiny_set, register, evaluate, tmp_path):
    name = register(**tiny_set.paths())
    evaluator = PanopticEvaluator(name, str(tmp_path))
    evaluator.reset()
    result = {}

    def same_name(record, output):
        evaluator.process([{**record, "file_name": f"{record['image_id']}/x.jpg"}], [output])
        return output

    evaluate(name, ["panoptic"], same_name)
    result = evaluator.evaluate()["panoptic_seg"]
    assert result["PQ"] == pytest.approx(100)


def test_outputs_stay_as_they_are(tiny_set, register, evaluate):
    kept = []

    def keep(record, output):
        kept.append((output["panoptic_seg"], copy.deepcopy(output["panoptic_seg"])))
        return output

    evaluate(register(**tiny_set.paths()), ["panoptic"], keep)
    assert kept
    for now, before in kept:
        assert torch.equal(now[0], before[0])
        assert now[1] == before[1]


def test_a_wrong_area_in_the_json_does_no_harm(tiny_set, register, evaluate):
    # panopticapi alone makes several hundred percent of this.
    for annotation in tiny_set.content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["area"] = 1
    tiny_set.write()
    results = evaluate(register(**tiny_set.paths()), ["panoptic"])
    assert results["panoptic_seg"]["PQ"] == pytest.approx(100)


def test_nothing_found_scores_0(tiny_set, register, evaluate):
    def nothing(record, output):
        return {"panoptic_seg": (torch.zeros_like(output["panoptic_seg"][0]), [])}

    results = evaluate(register(**tiny_set.paths()), ["panoptic"], nothing)
    assert set(results["panoptic_seg"].values()) == {0.0}


def test_a_set_that_was_not_registered_with_panoptic_files_is_named(tmp_path):
    MetadataCatalog.get("test_plain").set(thing_classes=["a"])
    try:
        with pytest.raises(ValueError, match="test_plain: no panoptic_json"):
            PanopticEvaluator("test_plain", str(tmp_path))
    finally:
        MetadataCatalog.remove("test_plain")


def segment(id_, category_id):
    return {"id": id_, "category_id": category_id, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]}


def test_missing_prediction_and_segment_id_0_are_named():
    ground_truth = {
        "categories": [{"id": 1, "isthing": 1}],
        "annotations": [{"image_id": 4, "file_name": "d.png", "segments_info": [segment(0, 1)]}],
    }
    with pytest.raises(ValueError, match=r"no prediction for 1 image.*\[4\]"):
        pq.panoptic_quality(ground_truth, [], "a", "b")
    with pytest.raises(ValueError, match=r"segment id 0.*d\.png"):
        pq.panoptic_quality(ground_truth, [{"image_id": 4}], "a", "b")


def test_several_threads_count_what_one_counts(tiny_set, register, evaluate, monkeypatch):
    name = register(**tiny_set.paths())
    monkeypatch.setattr(pq, "MAX_THREADS", 1)
    one = evaluate(name, ["panoptic"], worsen)
    monkeypatch.setattr(pq, "MAX_THREADS", 8)
    monkeypatch.setattr(pq.os, "cpu_count", lambda: 3)
    assert evaluate(name, ["panoptic"], worsen) == one
    assert not math.isnan(one["panoptic_seg"]["PQ"])
