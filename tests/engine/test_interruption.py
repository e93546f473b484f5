"""Signals to a training, sent by the training itself at a known step."""

import os
import signal
from types import SimpleNamespace

import pytest
import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from toy_model import ToyModel  # noqa: F401  registers itself

from detr_d2.engine import DetrTrainer, interruption


class SendSignal(HookBase):
    """Sends a signal to this process before a step."""

    def __init__(self, number, iteration):
        self.number, self.iteration = number, iteration

    def before_step(self):
        if self.trainer.iter == self.iteration:
            os.kill(os.getpid(), self.number)


def train(cfg, hooks=(), resume=False, trainer_class=DetrTrainer):
    trainer = trainer_class(cfg)
    trainer.register_hooks(list(hooks))
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("number", "status", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "SIGINT")]
)
def test_a_signal_finishes_the_step_and_the_training_goes_on_later(
    toy_cfg, tmp_path, caplog, number, status, name
):
    toy_cfg.SOLVER.CHECKPOINT_PERIOD = 0
    toy_cfg.TEST.EVALUATORS = []
    toy_cfg.OUTPUT_DIR = str(tmp_path / "whole")
    whole = train(toy_cfg).model.state_dict()
    toy_cfg.OUTPUT_DIR = str(tmp_path / "parts")
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        train(toy_cfg, [SendSignal(number, 1)])
    assert ended.value.code == status
    assert signal.getsignal(number) is before
    assert (tmp_path / "parts" / "last_checkpoint").read_text() == "model_0000001.pth"
    # The picture is of a whole training.
    assert not (tmp_path / "parts" / "training.png").exists()
    assert f"{name}: stopped after 2 of 4 iterations" in caplog.text
    assert "--resume goes on" in caplog.text
    resumed = train(toy_cfg, resume=True)
    assert resumed.start_iter == 2
    for key, value in resumed.model.state_dict().items():
        assert torch.equal(value, whole[key]), key


def test_a_checkpoint_that_was_due_anyway_is_written_once(toy_cfg):
    toy_cfg.TEST.EVALUATORS = []
    with pytest.raises(SystemExit):
        train(toy_cfg, [SendSignal(signal.SIGTERM, 1)])
    files = [f for f in os.listdir(toy_cfg.OUTPUT_DIR) if f.endswith(".pth")]
    assert files == ["model_0000001.pth"]


class SignalledInEvaluation(DetrTrainer):
    finished = False

    @classmethod
    def test(cls, cfg, model, evaluators=None):
        os.kill(os.getpid(), signal.SIGTERM)
        torch.zeros(1)  # Python handles the signal between two instructions
        cls.finished = True
        return {}


def test_an_evaluation_ends_at_once_and_is_not_run_at_the_end(toy_cfg):
    toy_cfg.SOLVER.CHECKPOINT_PERIOD = 0
    toy_cfg.TEST.EVAL_PERIOD = 3
    with pytest.raises(SystemExit) as ended:
        train(toy_cfg, trainer_class=SignalledInEvaluation)
    assert ended.value.code == 143
    assert not SignalledInEvaluation.finished
    with open(os.path.join(toy_cfg.OUTPUT_DIR, "last_checkpoint")) as file:
        assert file.read() == "model_0000002.pth"


def test_a_signal_in_the_last_step_ends_without_the_evaluation(toy_cfg, monkeypatch):
    evaluated = []
    monkeypatch.setattr(DetrTrainer, "test", classmethod(lambda *_: evaluated.append(1)))
    with pytest.raises(SystemExit):
        train(toy_cfg, [SendSignal(signal.SIGTERM, 3)])
    assert evaluated == []
    assert "model_final.pth" in os.listdir(toy_cfg.OUTPUT_DIR)


def test_a_second_signal_ends_at_once_unless_it_is_the_first_sent_twice(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(interruption.time, "monotonic", lambda: now[0])
    hook = interruption.InterruptionHook(None, torch.device("cpu"))
    hook.before_train()
    try:
        receive = signal.getsignal(signal.SIGINT)
        receive(signal.SIGINT, None)
        now[0] = 105.0
        receive(signal.SIGINT, None)
        now[0] = 105.1
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with pytest.raises(SystemExit) as ended:
                receive(number, None)
            assert ended.value.code == status
    finally:
        hook.after_train()


@pytest.mark.parametrize(("own", "other"), [(signal.SIGTERM, 0), (0, signal.SIGTERM)])
def test_all_processes_end_when_one_has_got_a_signal(monkeypatch, own, other):
    """This one believes to be the second of two: the first would write the checkpoint."""
    waited = []
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(comm, "get_rank", lambda: 1)
    monkeypatch.setattr(comm, "synchronize", lambda: waited.append(1))
    choices = {torch.distributed.ReduceOp.MAX: max, torch.distributed.ReduceOp.MIN: min}

    def all_reduce(flag, operation):
        flag.fill_(choices[operation](int(flag), int(other)))

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    hook = interruption.InterruptionHook(None, torch.device("cpu"))
    hook.trainer = SimpleNamespace(iter=3)
    hook.before_train()
    try:
        if own:
            signal.getsignal(own)(own, None)
        with pytest.raises(SystemExit) as ended:
            hook.after_step()
        assert ended.value.code == 143
        assert waited == [1], "until the checkpoint is written"
        assert hook.stopped, "or this process alone would evaluate at the end"
    finally:
        hook.after_train()
