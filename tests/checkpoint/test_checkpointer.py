import os

import pytest
import torch
from torch import nn

from detr_d2.checkpoint.checkpointer import save_weights
from detr_d2.engine import Checkpointer


class Counter:
    def __init__(self, value):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


def test_weights_and_states_come_back(tmp_path):
    model = nn.Linear(2, 2)
    Checkpointer(model, str(tmp_path), counter=Counter(3)).save("model_1", iteration=5)

    other, counter = nn.Linear(2, 2), Counter(0)
    checkpointer = Checkpointer(other, str(tmp_path), counter=counter)
    rest = checkpointer.resume_or_load("", resume=True)

    assert torch.equal(other.weight, model.weight)
    assert counter.value == 3
    assert rest["iteration"] == 5
    assert checkpointer.get_checkpoint_file() == str(tmp_path / "model_1.pth")


def test_a_job_killed_while_writing_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    save_weights(str(path), {"model": {"w": torch.ones(1)}})

    def half(content, name):
        with open(name, "wb") as file:
            file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        save_weights(str(path), {"model": {}})
    assert os.listdir(tmp_path) == ["model.pth"]
    assert torch.load(path, weights_only=True)["model"]["w"].item() == 1


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"model": {}, "extra": Counter(1)}, tmp_path / "bad.pth")
    with pytest.raises(Exception, match="Weights only"):
        Checkpointer(nn.Linear(1, 1)).load(str(tmp_path / "bad.pth"))
