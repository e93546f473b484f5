"""Several processes learn what one learns, and none waits for one that has died."""

import os
import signal
import warnings

import one_size
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.engine import HookBase
from detectron2.utils import comm
from kills import start_child
from one_size import one_size_cfg, results_of, train
from tiny_model import processes
from torch import distributed, nn

from detr_d2 import register_dataset
from detr_d2.engine import launch, launcher, trainer


@pytest.fixture
def cfg(tiny_set, register, tmp_path):
    return one_size_cfg(register(**tiny_set.paths()), tmp_path / "one")


def train_in_process(args, hooks=()):
    start_child()
    if args.cfg.DATASETS.TRAIN[0] not in DatasetCatalog:
        register_dataset(args.cfg.DATASETS.TRAIN[0], **args.register)
    train(args.cfg, hooks)


def test_two_processes_with_half_the_batch_each_learn_what_one_learns(cfg, tiny_set, tmp_path):
    """Started as users' are, not forked."""
    compare_two_with_one(cfg, tiny_set, tmp_path)


@pytest.mark.usefixtures("forked")
def test_so_they_do_from_images_of_different_sizes_where_padding_is_erased(
    cfg, tiny_set, tmp_path, monkeypatch
):
    """In two halves of a batch, images have other paddings than in the whole."""
    monkeypatch.setattr(one_size, "SIZES", [(32, 48), (40, 36), (24, 24)])
    cfg.MODEL.DETR.ERASE_PADDING = True
    compare_two_with_one(cfg, tiny_set, tmp_path)


def compare_two_with_one(cfg, tiny_set, tmp_path):
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
    train_in_process(args, [Dies()])


@pytest.mark.usefixtures("forked")
def test_a_process_that_is_killed_ends_the_others_and_is_named(cfg, tiny_set, monkeypatch):
    monkeypatch.setattr(launcher, "SECONDS_TO_END", 1.0)
    with pytest.raises(SystemExit, match=r"process 1 of 2 on .* ended with signal SIGKILL; the"):
        launch(die_in_process, processes(2, cfg=cfg, register=tiny_set.paths()))


def interrupt_in_process(args):
    train_in_process(args, [SignalsParent()])


class SignalsParent(HookBase):
    """Sends SIGTERM to the process that has started the others, after three steps."""

    def after_step(self):
        if self.trainer.iter == 2 and comm.get_rank() == 1:
            os.kill(os.getppid(), signal.SIGTERM)


@pytest.mark.usefixtures("forked")
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


def test_nothing_is_said_about_names_of_torch_that_users_never_wrote(tmp_path, monkeypatch):
    meeting = f"file://{tmp_path}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    try:
        monkeypatch.setattr(comm, "get_world_size", lambda: 2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            wrapped = trainer._wrap_for_processes(nn.Linear(1, 1), torch.device("cpu"))
    finally:
        distributed.destroy_process_group()
    assert isinstance(wrapped, nn.parallel.DistributedDataParallel)
