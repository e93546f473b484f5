"""Several processes learn what one learns, and none waits for one that has died."""

import json
import os
import signal

import pytest
import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from tiny_model import processes, tiny_cfg

from detr_d2 import register_dataset
from detr_d2.engine import DetrTrainer, launch

# One size, so that nothing is padded: the padding of a batch changes what a model sees.
SIZE = (32, 48)


class FixedImages(DetrTrainer):
    """Records of any size become images of one size; some hold objects, some none."""

    @classmethod
    def build_train_loader(cls, cfg):
        loader = super().build_train_loader(cfg)
        loader._mapper = to_one_size
        return loader


def to_one_size(record):
    from synthetic_input import synthetic_input

    objects = record["image_id"] % 3
    return {
        **record,
        **synthetic_input(SIZE, objects, sides=(8, 12), step=(4, 6), seed=record["image_id"]),
    }


@pytest.fixture
def cfg(tiny_set, register, tmp_path):
    """DETR without dropout, four images a step."""
    cfg = tiny_cfg("Detr")
    cfg.DATASETS.TRAIN = (register(**tiny_set.paths()),)
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.MODEL.DETR.DROPOUT = 0.0
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.SOLVER.OPTIMIZER = "SGD"
    cfg.SOLVER.BASE_LR = 0.001
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    cfg.SOLVER.MAX_ITER = 20
    cfg.SOLVER.STEPS = ()
    cfg.SOLVER.WARMUP_ITERS = 0
    cfg.SOLVER.CHECKPOINT_PERIOD = 0
    cfg.OUTPUT_DIR = str(tmp_path / "one")
    return cfg


def train(cfg, hooks=()):
    trainer = FixedImages(cfg)
    trainer.register_hooks(list(hooks))
    # Every step is logged.
    trainer._log._period = 1
    trainer.train()


def train_in_process(args):
    register_dataset(args.cfg.DATASETS.TRAIN[0], **args.register)
    torch.set_num_threads(1)
    train(args.cfg)


def results_of(folder):
    with open(os.path.join(folder, "metrics.json")) as file:
        lines = [json.loads(line) for line in file]
    losses = [{k: v for k, v in line.items() if "loss" in k} for line in lines]
    return losses, torch.load(os.path.join(folder, "model_final.pth"))["model"]


def test_two_processes_with_half_the_batch_each_learn_what_one_learns(cfg, tiny_set, tmp_path):
    train(cfg)
    cfg.OUTPUT_DIR = str(tmp_path / "two")
    launch(train_in_process, processes(2, cfg=cfg, register=tiny_set.paths()))

    (one, one_weights), (two, two_weights) = (results_of(tmp_path / d) for d in ("one", "two"))
    assert len(one) == len(two) == 20
    for first, second in zip(one, two, strict=True):
        assert second == pytest.approx(first, abs=1e-6, rel=1e-6)
    for name, value in one_weights.items():
        torch.testing.assert_close(two_weights[name], value, rtol=0, atol=1e-6, msg=name)
    # The steps have moved something.
    assert one[0]["loss_class"] > one[-1]["loss_class"] + 0.01


class Dies(HookBase):
    """Ends the process without a word, as the system does when memory is short."""

    def after_step(self):
        if comm.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def die_in_process(args):
    register_dataset(args.cfg.DATASETS.TRAIN[0], **args.register)
    torch.set_num_threads(1)
    train(args.cfg, [Dies()])


def test_a_process_that_is_killed_ends_the_others_and_is_named(cfg, tiny_set):
    with pytest.raises(SystemExit, match=r"process 1 of 2 on .* ended with signal SIGKILL; the"):
        launch(die_in_process, processes(2, cfg=cfg, register=tiny_set.paths()))


def interrupt_in_process(args):
    register_dataset(args.cfg.DATASETS.TRAIN[0], **args.register)
    torch.set_num_threads(1)
    train(args.cfg, [SignalsParent()])


class SignalsParent(HookBase):
    """Sends SIGTERM to the process that has started the others, after three steps."""

    def after_step(self):
        if self.trainer.iter == 2 and comm.get_rank() == 1:
            os.kill(os.getppid(), signal.SIGTERM)


def test_sigterm_to_the_first_process_stops_all_with_a_checkpoint(cfg, tiny_set):
    cfg.SOLVER.MAX_ITER = 100_000
    with pytest.raises(SystemExit) as ended:
        launch(interrupt_in_process, processes(2, cfg=cfg, register=tiny_set.paths()))
    assert ended.value.code == 143
    with open(os.path.join(cfg.OUTPUT_DIR, "last_checkpoint")) as file:
        name = file.read()
    state = torch.load(os.path.join(cfg.OUTPUT_DIR, name))
    assert state["iteration"] >= 2


def test_more_processes_than_torchrun_has_started_are_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(ValueError, match="torchrun or SLURM has started 1 processes already"):
        launch(train_in_process, processes(2))
