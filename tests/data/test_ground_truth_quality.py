"""Ground truth fed back as prediction must score 100: it shows that ids, types, categories and
files mean to Detectron2's evaluator what they mean to us."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator

from detr_d2.data.mapper import DetrMapper
from detr_d2.ops.panoptic_ids import read_ids

pytest.importorskip("panopticapi")

REPOSITORY = Path(__file__).parents[2]


def quality_of_ground_truth(name, change=lambda segments: segments):
    """Evaluate every image's own ground truth, its segments changed by `change`."""
    evaluator = COCOPanopticEvaluator(name)
    evaluator.reset()
    mapper = DetrMapper(is_train=False, augmentations=[], image_format="RGB")
    for record in DatasetCatalog.get(name):
        given = mapper(record)
        id_map = torch.from_numpy(read_ids(given["pan_seg_file_name"]))
        # A prediction has no crowds and lists category and isthing only.
        segments = [
            {key: s[key] for key in ("id", "category_id", "isthing")}
            for s in given["segments_info"]
            if not s["iscrowd"]
        ]
        for s in given["segments_info"]:
            if s["iscrowd"]:
                id_map[id_map == s["id"]] = 0
        evaluator.process([given], [{"panoptic_seg": (id_map, change(segments))}])
    return evaluator.evaluate()["panoptic_seg"]


@pytest.fixture
def run_script(monkeypatch):
    """Run a script of `datasets/` with its arguments."""

    def run(name, *arguments):
        script = str(REPOSITORY / "datasets" / name)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(script, run_name="__main__")

    return run


def check_hundred(name):
    results = quality_of_ground_truth(name)
    assert {key: round(value, 9) for key, value in results.items()} == dict.fromkeys(results, 100)


def test_tiny_set(tiny_set, register):
    check_hundred(register(**tiny_set.paths()))


def test_the_measure_notices_a_class_mistaken(tiny_set, register):
    name = register(**tiny_set.paths())

    def mistake_bricks_for_pipes(segments):
        # Contiguous ids: pipe 0, brick 1.
        return [{**s, "category_id": 0} if s["category_id"] == 1 else s for s in segments]

    results = quality_of_ground_truth(name, mistake_bricks_for_pipes)

    assert results["PQ_st"] == pytest.approx(100)
    # Brick: missed, 0. Pipe: one hit, one false, RQ 1 / 1.5. The mean of the two is 33.3.
    assert results["PQ_th"] == pytest.approx(100 / 3)


def test_site_set(tmp_path, register, run_script):
    run_script(
        "prepare_site.py", "--out", str(tmp_path), "--train", "0", "--val", "6", "--workers", "1"
    )
    check_hundred(
        register(
            image_root=tmp_path / "val",
            panoptic_root=tmp_path / "panoptic_val",
            panoptic_json=tmp_path / "panoptic_val.json",
        )
    )


@pytest.mark.parametrize("options", [[], ["--all-categories"]])
def test_coco_samples(test_data, tmp_path, register, run_script, options):
    run_script("prepare_coco_samples.py", "--data", test_data, "--out", str(tmp_path), *options)
    name = register(
        image_root=tmp_path / "images",
        panoptic_root=tmp_path / "panoptic",
        panoptic_json=tmp_path / "panoptic.json",
    )
    assert "person" in MetadataCatalog.get(name).thing_classes
    check_hundred(name)
