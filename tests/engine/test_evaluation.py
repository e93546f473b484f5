"""What a training does at each evaluation: the best weights, and the losses of the test set."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from tiny_model import build, tiny_cfg
from torch import nn
from toy_model import ToyModel  # noqa: F401  registers itself

from detr_d2.checkpoint import open_weights
from detr_d2.data.mapper import DetrMapper
from detr_d2.engine import DetrTrainer
from detr_d2.engine.evaluation import BestWeights, held_out_losses


def results(pq):
    return {"panoptic_seg": {"PQ": pq, "PQ-brick": 99.0}, "bbox": {"AP": 50.0}}


def layer(value):
    """A model whose weights tell it from others."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def kept(best):
    content = torch.load(best.path, weights_only=True)
    return content["model"]["weight"].item(), content["best"]


@pytest.fixture
def best(toy_cfg):
    return BestWeights(toy_cfg)


def test_the_best_is_kept_and_not_the_last(best):
    for iteration, (pq, weight) in enumerate([(40.0, 1.0), (float("nan"), 2.0), (60.5, 3.0)]):
        best.keep(results(pq), layer(weight), iteration, resumed=False)
    best.keep(results(60.5), layer(4.0), 3, resumed=False)
    best.keep(results(59.0), layer(5.0), 4, resumed=False)
    assert kept(best) == (3.0, {"figure": "PQ", "value": 60.5, "iteration": 2})


def test_nothing_is_kept_where_no_figure_is_measured(best):
    best.keep({"sem_seg": {"mIoU": 50.0}}, layer(1.0), 0, resumed=False)
    assert not os.path.exists(best.path)
    # Boxes decide where there is no panoptic quality.
    best.keep({"bbox": {"AP": 20.0}}, layer(2.0), 1, resumed=False)
    assert kept(best)[1] == {"figure": "box_AP", "value": 20.0, "iteration": 1}


def test_a_resumed_training_knows_its_best_and_a_new_one_begins_anew(best, toy_cfg):
    best.keep(results(60.0), layer(1.0), 0, resumed=False)
    BestWeights(toy_cfg).keep(results(50.0), layer(2.0), 1, resumed=True)
    assert kept(best)[0] == 1.0
    BestWeights(toy_cfg).keep(results(61.0), layer(3.0), 1, resumed=True)
    assert kept(best)[0] == 3.0
    BestWeights(toy_cfg).keep(results(50.0), layer(4.0), 0, resumed=False)
    assert kept(best)[0] == 4.0


def test_of_several_sets_the_first_decides(toy_cfg):
    toy_cfg.DATASETS.TEST = ("first", "second")
    best = BestWeights(toy_cfg)
    best.keep({"second": results(90.0), "first": results(30.0)}, layer(1.0), 0, resumed=False)
    assert kept(best)[1]["value"] == 30.0


def test_a_figure_that_does_not_exist_is_named(toy_cfg):
    toy_cfg.TEST.BEST_BY = ["pq"]
    toy_cfg.TEST.EVAL_PERIOD = 2
    with pytest.raises(ValueError, match=r"TEST.BEST_BY \['pq'\], allowed: \['PQ', "):
        DetrTrainer(toy_cfg)


def test_a_training_keeps_what_it_evaluated_and_logs_every_class(toy_cfg):
    toy_cfg.TEST.EVAL_PERIOD = 2
    toy_cfg.SOLVER.EMA.ENABLED = True
    trainer = DetrTrainer(toy_cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    folder = toy_cfg.OUTPUT_DIR
    # The toy model's figures never change: the first evaluation stays the best.
    assert open_weights(f"{folder}/model_best.pth").rest["best"]["iteration"] == 1
    with open(f"{folder}/last_checkpoint") as file:
        assert file.read() == "model_final.pth", "--resume goes on from the last"
    with open(f"{folder}/metrics.json") as file:
        logged = {key: value for line in file for key, value in json.loads(line).items()}
    assert 0 < logged["panoptic_seg/PQ-soil"] < 100
    # Absent in the prediction, there in the ground truth.
    assert logged["panoptic_seg/PQ-brick"] == 0


@pytest.fixture
def cfg(tiny_set, register):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.MODEL.DETR.DROPOUT = 0.5
    cfg.DATASETS.TEST = (register(**tiny_set.paths()),)
    cfg.INPUT.FORMAT = "BGR"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (48,), 32
    cfg.TEST.LOSS_IMAGES = 2
    return cfg


def test_losses_are_those_of_evaluation_on_images_spread_over_the_set(cfg):
    model = build(cfg)
    with EventStorage() as storage:
        found = held_out_losses(cfg, model.train())
        assert "class_error" not in storage.latest(), "of other images than the training's"
    assert model.training
    # The first and the last of three images, at the size of evaluation and not flipped.
    mapper = DetrMapper(cfg, is_train=True)
    mapper.augmentations = DetrMapper(cfg, is_train=False).augmentations
    records = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    with torch.no_grad():
        parts = [model.eval().losses([mapper(records[i])]) for i in (0, 2)]
    for name in ("loss_class", "loss_dice"):
        assert found[name] == pytest.approx(sum(float(p[name]) for p in parts) / 2, rel=1e-5)
    everything = sum(float(sum(part.values())) for part in parts) / 2
    assert found["total_loss"] == pytest.approx(everything, rel=1e-5)
    assert "loss_class_0" not in found


def test_a_model_without_losses_is_named(toy_cfg):
    toy_cfg.TEST.LOSS_IMAGES = 2
    assert not hasattr(build_model(toy_cfg), "losses")
    with pytest.raises(ValueError, match=r"TEST\.LOSS_IMAGES 2: ToyModel has no method"):
        DetrTrainer(toy_cfg)


def test_losses_are_logged_beside_the_figures(toy_cfg, monkeypatch):
    toy_cfg.TEST.LOSS_IMAGES = 3
    trainer = DetrTrainer.__new__(DetrTrainer)
    trainer.cfg, trainer.iter, trainer.start_iter = toy_cfg, 0, 0
    monkeypatch.setattr(DetrTrainer, "test", lambda *_: {"bbox": {"AP": 1.0}})
    monkeypatch.setattr("detr_d2.engine.trainer.held_out_losses", lambda *_: {"total_loss": 2.0})
    logged = trainer._evaluate(nn.Identity(), None)
    assert logged == {"bbox": {"AP": 1.0}, "validation": {"total_loss": 2.0}}
    assert trainer._last_eval_results == {"bbox": {"AP": 1.0}}


@pytest.mark.parametrize(
    ("start", "is_main", "expected"), [(0, True, [False]), (2, True, [True]), (2, False, [])]
)
def test_the_main_process_keeps_the_best_and_says_whether_it_is_a_resumed_training(
    toy_cfg, monkeypatch, start, is_main, expected
):
    said = []
    best = SimpleNamespace(keep=lambda *_, resumed: said.append(resumed))
    trainer = DetrTrainer.__new__(DetrTrainer)
    trainer.cfg, trainer.iter, trainer.start_iter = toy_cfg, 3, start
    monkeypatch.setattr(DetrTrainer, "test", lambda *_: {})
    monkeypatch.setattr(comm, "is_main_process", lambda: is_main)
    trainer._evaluate(nn.Identity(), best)
    assert said == expected


def test_without_a_test_set_there_are_no_losses_to_measure(toy_cfg, monkeypatch):
    toy_cfg.TEST.LOSS_IMAGES, toy_cfg.DATASETS.TEST = 3, ()
    trainer = DetrTrainer.__new__(DetrTrainer)
    trainer.cfg = toy_cfg
    monkeypatch.setattr(DetrTrainer, "test", lambda *_: {})
    assert trainer._evaluate(nn.Identity(), None) == {}


@pytest.mark.parametrize(("period", "has_set", "count"), [(2, 1, 1), (0, 1, 0), (2, 0, 0)])
def test_the_best_is_looked_for_where_there_are_evaluations_to_compare(
    toy_cfg, monkeypatch, period, has_set, count
):
    toy_cfg.TEST.EVAL_PERIOD = period
    toy_cfg.DATASETS.TEST = toy_cfg.DATASETS.TEST[:has_set]
    made = []
    monkeypatch.setattr("detr_d2.engine.trainer.BestWeights", made.append)
    DetrTrainer(toy_cfg)
    assert len(made) == count
