"""Figures of several processes are those of one, to the last bit."""

import json

import pytest
from model_outputs import evaluate_in_process, worsen
from tiny_model import processes

from detr_d2.engine import launch
from detr_d2.evaluation.build import NAMES


@pytest.mark.usefixtures("forked")
def test_three_processes_of_which_one_has_no_image(tiny_set, register, evaluate, tmp_path):
    name = register(**tiny_set.paths())
    expected = evaluate(name, list(NAMES), worsen)
    folder = tmp_path / "processes"
    folder.mkdir()
    launch(evaluate_in_process, processes(3, name=name, folder=folder))
    results = [json.loads((folder / f"results.{rank}.json").read_text()) for rank in range(3)]
    assert 0 < expected["panoptic_seg"]["PQ"] < 100
    assert 0 < expected["segm"]["AP"] < 100
    assert json.dumps(results[0]) == json.dumps(expected)
    assert results[1:] == [{}, {}]
    alone = tmp_path / "inference/predictions.json"
    assert (folder / "predictions.json").read_bytes() == alone.read_bytes()
