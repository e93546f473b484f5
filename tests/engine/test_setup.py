import argparse
import json
import os

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from detectron2.utils import comm
from tiny_model import give_weights, tiny_cfg

from detr_d2.config import add_detr_config
from detr_d2.data.categories import CategoryTable
from detr_d2.engine import registered_categories, setup, setup_job
from detr_d2.engine.randomness import fix_seed


def test_job_leaves_config_environment_and_categories_beside_the_weights(toy_cfg, tiny_set):
    setup_job(toy_cfg, argparse.Namespace())

    folder = toy_cfg.OUTPUT_DIR
    again = get_cfg()
    again.set_new_allowed(True)
    again.merge_from_file(os.path.join(folder, "config.yaml"))
    assert again.SOLVER.MAX_ITER == toy_cfg.SOLVER.MAX_ITER
    with open(os.path.join(folder, "environment.txt")) as file:
        assert torch.__version__ in file.read()
    with open(os.path.join(folder, "categories.json")) as file:
        table = CategoryTable(json.load(file))
    assert table.metadata() == CategoryTable(tiny_set.content["categories"]).metadata()


def test_detectron2s_predictor_runs_on_the_config_alone(tiny_set, register, tmp_path):
    """Contiguous: pipe 0, brick 1, sky 2, soil 3."""
    cfg = tiny_cfg()
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.MODEL.DETR.SCORE_THRESH = 0.0
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (register(**tiny_set.paths()),)
    cfg.INPUT.FORMAT, cfg.INPUT.MIN_SIZE_TEST = "RGB", 32
    cfg.OUTPUT_DIR = str(tmp_path / "run")
    give_weights(cfg, tmp_path)
    setup_job(cfg, argparse.Namespace())
    assert cfg.MODEL.DETR.NUM_CLASSES == 0, "the caller's config stays as it is"
    for catalog in (DatasetCatalog, MetadataCatalog):
        catalog.remove(cfg.DATASETS.TEST[0])

    alone = get_cfg()
    add_detr_config(alone)
    alone.merge_from_file(os.path.join(cfg.OUTPUT_DIR, "config.yaml"))
    assert (alone.MODEL.DETR.NUM_CLASSES, alone.MODEL.DETR.THING_IDS) == (4, [0, 1])
    predictor = DefaultPredictor(alone)
    assert predictor.model.num_classes == 4
    assert predictor.model.postprocess.thing_ids == {0, 1}
    id_map, segments = predictor(np.zeros((24, 40, 3), np.uint8))["panoptic_seg"]
    assert id_map.shape == (24, 40)
    assert all(s["isthing"] == (s["category_id"] < 2) for s in segments)


def test_things_that_are_not_the_data_sets_are_rejected(tiny_set, register):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.DATASETS.TRAIN = (register(**tiny_set.paths()),)
    cfg.MODEL.DETR.THING_IDS = [0, 1, 2]
    with pytest.raises(ValueError, match=r"THING_IDS is \[0, 1, 2\].*are \[0, 1\]"):
        build_model(cfg)


def test_the_seed_makes_runs_alike(toy_cfg):
    setup_job(toy_cfg, argparse.Namespace())
    first = torch.rand(1)
    setup_job(toy_cfg, argparse.Namespace())
    assert torch.equal(torch.rand(1), first)


def test_each_process_has_random_numbers_of_its_own(toy_cfg, monkeypatch):
    drawn = []
    for rank in (0, 1, 1):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        setup_job(toy_cfg, argparse.Namespace())
        drawn.append((torch.rand(1).item(), np.random.rand()))
    assert drawn[0] != drawn[1] == drawn[2]


def test_the_first_process_writes_the_record(toy_cfg, monkeypatch):
    monkeypatch.setattr(comm, "get_rank", lambda: 1)
    os.makedirs(toy_cfg.OUTPUT_DIR)
    setup_job(toy_cfg, argparse.Namespace())
    names = {"config.yaml", "environment.txt", "categories.json"}
    assert not names & set(os.listdir(toy_cfg.OUTPUT_DIR))
    monkeypatch.setattr(comm, "get_rank", lambda: 0)
    setup_job(toy_cfg, argparse.Namespace())
    assert names <= set(os.listdir(toy_cfg.OUTPUT_DIR))


def test_categories_of_the_test_set_count_where_there_is_no_other(toy_cfg):
    toy_cfg.DATASETS.TRAIN = ()
    setup_job(toy_cfg, argparse.Namespace())
    with open(os.path.join(toy_cfg.OUTPUT_DIR, "categories.json")) as file:
        assert len(json.load(file)) == 4


@pytest.mark.parametrize("fastest", [True, False])
def test_cudnn_looks_for_the_fastest_way_by_config(toy_cfg, monkeypatch, fastest):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not fastest)
    toy_cfg.CUDNN_BENCHMARK = fastest
    setup_job(toy_cfg, argparse.Namespace())
    assert torch.backends.cudnn.benchmark is fastest


def test_a_drawn_seed_is_that_of_the_first_process(toy_cfg, monkeypatch):
    monkeypatch.setattr(comm, "all_gather", lambda own: [41, own])
    toy_cfg.SEED = -1
    fix_seed(toy_cfg)
    assert toy_cfg.SEED == 41


def test_processes_of_one_machine_share_its_cores(monkeypatch):
    """Eight processes on four machines of six cores: two each, with three threads."""
    taken = []
    monkeypatch.setattr(comm, "get_world_size", lambda: 8)
    monkeypatch.setattr(comm, "get_local_size", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    setup.share_cores("cuda")
    assert taken == []
    setup.share_cores("cpu")
    assert taken == [3]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    setup.share_cores("cpu")
    assert taken == [3, 1]


def test_environment_is_told_even_where_detectron2_cannot_collect_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "detectron2.utils.collect_env", None)
    assert torch.__version__ in setup.describe_environment()


def test_categories_of_an_unknown_set_are_none():
    assert registered_categories(["never registered"]) == []
