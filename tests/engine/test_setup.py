import argparse
import json
import os

import torch
from detectron2.config import get_cfg

from detr_d2.data.categories import CategoryTable
from detr_d2.engine import registered_categories, setup, setup_job


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


def test_the_seed_makes_runs_alike(toy_cfg):
    setup_job(toy_cfg, argparse.Namespace())
    first = torch.rand(1)
    setup_job(toy_cfg, argparse.Namespace())
    assert torch.equal(torch.rand(1), first)


def test_environment_is_told_even_where_detectron2_cannot_collect_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "detectron2.utils.collect_env", None)
    assert torch.__version__ in setup.describe_environment()


def test_categories_of_an_unknown_set_are_none():
    assert registered_categories(["never registered"]) == []
