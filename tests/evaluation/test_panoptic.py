import contextlib
import copy
import json
import logging
import math
import os
import re
import threading
from collections import Counter

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator
from model_outputs import output_of_ground_truth, worsen
from random_panoptic import save_ids

from detr_d2.evaluation import pq
from detr_d2.evaluation.panoptic import PanopticEvaluator, _class_table, _table
from detr_d2.evaluation.pq_counts import PanopticCounts


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
    # It has no figures of single classes.
    assert {k: v for k, v in ours.items() if "-" not in k} == pytest.approx(expected)


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


def test_every_class_that_occurs_has_its_figure(tiny_set, register, evaluate):
    """A brick that is not found counts as missed; the crowd of pipes in its image does not."""

    def without_brick(record, output):
        ids, segments = output["panoptic_seg"]
        for segment in segments:
            if segment["category_id"] == 1:
                ids = torch.where(ids == segment["id"], 0, ids)
        return {"panoptic_seg": (ids, [s for s in segments if s["category_id"] != 1])}

    name = register(**tiny_set.paths())
    figures = evaluate(name, ["panoptic"], without_brick)["panoptic_seg"]
    classes = {key: value for key, value in figures.items() if "-" in key}
    assert classes == {"PQ-pipe": 100, "PQ-brick": 0, "PQ-sky": 100, "PQ-soil": 100}


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


def test_several_threads_count_what_one_counts(tiny_set, register, evaluate, monkeypatch):
    name = register(**tiny_set.paths())
    monkeypatch.setattr(pq, "MAX_THREADS", 1)
    one = evaluate(name, ["panoptic"], worsen)
    monkeypatch.setattr(pq, "MAX_THREADS", 8)
    monkeypatch.setattr(pq.os, "cpu_count", lambda: 3)
    assert evaluate(name, ["panoptic"], worsen) == one
    assert not math.isnan(one["panoptic_seg"]["PQ"])


def test_predictions_json_is_what_panopticapi_reads(tiny_set, register, evaluate, tmp_path):
    evaluation = pytest.importorskip("panopticapi.evaluation")

    def keep(record, output):
        output = worsen(record, output)
        name = os.path.basename(record["pan_seg_file_name"])
        save_ids(tmp_path / "found" / name, output["panoptic_seg"][0].numpy())
        return output

    figures = evaluate(register(**tiny_set.paths()), ["panoptic"], keep)["panoptic_seg"]
    written = tmp_path / "inference/predictions.json"
    for annotation in json.loads(written.read_text())["annotations"]:
        assert {"image_id", "file_name", "segments_info"} == annotation.keys()
        for segment in annotation["segments_info"]:
            assert {"id", "category_id"} == segment.keys()
    folders = str(tmp_path / "panoptic"), str(tmp_path / "found")
    expected = evaluation.pq_compute(str(tiny_set.json_path), str(written), *folders)
    assert figures["PQ"] == pytest.approx(100 * expected["All"]["pq"], abs=1e-12)
    assert figures["SQ_st"] == pytest.approx(100 * expected["Stuff"]["sq"], abs=1e-12)


def test_maps_of_labels_without_segments_are_taken_as_detectron2_does(
    tiny_set, register, evaluate, tmp_path
):
    """Panoptic-DeepLab gives category * label_divisor + instance, and -1 for void."""
    name = register(**tiny_set.paths())
    MetadataCatalog.get(name).label_divisor = 1000
    outputs = []

    def labels(record, output):
        ids, segments = output["panoptic_seg"]
        result = torch.full_like(ids, -1)
        for instance, segment in enumerate(segments):
            isthing = segment["isthing"]
            result[ids == segment["id"]] = segment["category_id"] * 1000 + isthing * instance
        outputs.append({"panoptic_seg": (torch.roll(result, 1, dims=1), None)})
        return copy.deepcopy(outputs[-1])

    ours = evaluate(name, ["panoptic"], labels)["panoptic_seg"]
    theirs = COCOPanopticEvaluator(name, str(tmp_path))
    theirs.reset()
    theirs.process(DatasetCatalog.get(name), outputs)
    expected = theirs.evaluate()["panoptic_seg"]
    assert 1 < expected["PQ"] < 99
    # It has no figures of single classes.
    assert {k: v for k, v in ours.items() if "-" not in k} == pytest.approx(expected)


def test_a_map_that_changes_after_process_does_no_harm(tiny_set, register, monkeypatch, tmp_path):
    name = register(**tiny_set.paths())
    evaluator = PanopticEvaluator(name, str(tmp_path))
    evaluator.reset()
    waiting = threading.Event()
    count = evaluator._ground_truth.count

    def late(*arguments):
        waiting.wait(20)
        return count(*arguments)

    monkeypatch.setattr(evaluator._ground_truth, "count", late)
    monkeypatch.setattr(evaluator, "_threads", 3)
    others = set(threading.enumerate())
    for record in DatasetCatalog.get(name):
        output = output_of_ground_truth(record, 4)
        evaluator.process([record], [output])
        output["panoptic_seg"][0].zero_()
    assert set(threading.enumerate()) - others
    waiting.set()
    assert evaluator.evaluate()["panoptic_seg"]["PQ"] == pytest.approx(100)
    assert not set(threading.enumerate()) - others, "its threads have ended"


def test_few_maps_wait_and_an_error_comes_soon(tiny_set, register, tmp_path, monkeypatch):
    monkeypatch.setattr(pq, "MAX_THREADS", 1)
    name = register(**tiny_set.paths())
    evaluator = PanopticEvaluator(name, str(tmp_path))
    evaluator.reset()
    record = DatasetCatalog.get(name)[0]
    ids = torch.full((1, 1), 7, dtype=torch.int32)
    for _ in range(9):
        with contextlib.suppress(ValueError):
            evaluator.process([record], [{"panoptic_seg": (ids, [])}])
        assert len(evaluator._jobs) <= 1
    with pytest.raises(ValueError, match=r"image 7 \(a\.png\): ground truth of \(16, 24\)"):
        evaluator.evaluate()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 77, "isthing": True}, r"thing class 77, but the set has \[0, 1\]"),
        ({"category_id": 0, "isthing": False}, r"stuff class 0, but the set has \[2, 3\]"),
        ({"category_id": 77, "isthing": None}, r"has category 77, allowed: \[2, 5, 9, 40\]"),
    ],
)
def test_a_class_that_the_set_lacks_is_named(tiny_set, register, evaluate, change, message):
    def other(record, output):
        ids, segments = output["panoptic_seg"]
        return {"panoptic_seg": (ids, [{**s, **change} for s in segments])}

    with pytest.raises(ValueError, match=message):
        evaluate(register(**tiny_set.paths()), ["panoptic"], other)


def test_images_missed_doubled_or_unknown_are_named(tiny_set, register, tmp_path):
    name = register(**tiny_set.paths())
    records = DatasetCatalog.get(name)

    def run(*chosen):
        evaluator = PanopticEvaluator(name, str(tmp_path))
        evaluator.reset()
        outputs = [output_of_ground_truth(record, 4) for record in chosen]
        evaluator.process(list(chosen), outputs)
        return evaluator.evaluate()

    with pytest.raises(ValueError, match=r"no prediction for 1 image\(s\), the first: \[9\]"):
        run(*records[:2])
    with pytest.raises(ValueError, match=r"1 image\(s\) predicted twice, the first: \[7\]"):
        run(*records, records[0])
    with pytest.raises(ValueError, match="image 10 was predicted, but is not in"):
        run(*records, {**records[0], "image_id": 10})


def test_the_log_names_each_class_and_its_counts(tiny_set, register, evaluate, caplog):
    with caplog.at_level(logging.INFO, "detr_d2"):
        evaluate(register(**tiny_set.paths()), ["panoptic"])
    # The crowd of pipes is no miss: one pipe is found.
    assert re.search(r"\| pipe +\| +100.00 \|( +100.00 \|){2} +1 \| +0 \| +0 \|", caplog.text)
    assert re.search(r"\| soil +\| +100.00 \|( +100.00 \|){2} +2 \| +0 \| +0 \|", caplog.text)


def test_an_evaluator_starts_anew(tiny_set, register, tmp_path, caplog):
    """Of two evaluations of one evaluator, as EVAL_PERIOD makes them, each counts its own."""
    name = register(**tiny_set.paths())
    records = DatasetCatalog.get(name)
    evaluator = PanopticEvaluator(name, str(tmp_path))
    figures = []
    for worse in (True, False):
        evaluator.reset()
        for record in records:
            output = output_of_ground_truth(record, 4)
            evaluator.process([record], [worsen(record, output) if worse else output])
        figures.append(evaluator.evaluate()["panoptic_seg"]["PQ"])
    assert figures[0] < 99 and figures[1] == pytest.approx(100)


def test_the_table_of_groups_leaves_out_what_the_set_does_not_have():
    group = {"pq": 0.25, "sq": 0.5, "rq": 0.75, "n": 3}
    nothing = {**dict.fromkeys(("pq", "sq", "rq"), math.nan), "n": 0}
    lines = _table({"All": group, "Things": nothing, "Stuff": group}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["", "PQ", "SQ", "RQ", "classes"]
    assert cells[2:] == [[name, "25.00", "50.00", "75.00", "3"] for name in ("All", "Stuff")]


def test_what_is_wrong_and_what_is_missed_stand_in_their_columns():
    """A class that has no name is called by its id, one that does not occur is left away."""
    counts = PanopticCounts(tp=Counter({7: 1}), fp=Counter({7: 2}), fn=Counter({7: 4, 9: 6}))
    counts.iou[7] = 3 * 2**51
    lines = _class_table(counts, [{"id": 7, "name": "rail"}, {"id": 8}, {"id": 9}]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells == [
        ["rail", "18.75", "75.00", "25.00", "1", "2", "4"],
        ["9", "0.00", "0.00", "0.00", "0", "0", "6"],
    ]


def test_without_panoptic_files_the_missing_key_is_named(tmp_path):
    for key, other in (("panoptic_json", "panoptic_root"), ("panoptic_root", "panoptic_json")):
        MetadataCatalog.get("test_half").set(**{other: "x"})
        try:
            with pytest.raises(ValueError, match=f"test_half: no {key} in its metadata"):
                PanopticEvaluator("test_half", str(tmp_path))
        finally:
            MetadataCatalog.remove("test_half")
