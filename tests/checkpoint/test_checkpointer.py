import os
import resource

import pytest
import torch
from detectron2.utils import comm
from published_weights import fill, resnet_shapes
from tiny_model import tiny_cfg
from torch import nn

from detr_d2.checkpoint import LoadingRules, WeightsError
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


def test_one_of_several_processes_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(comm, "get_rank", lambda: 1)
    Checkpointer(nn.Linear(2, 2), str(tmp_path)).save("model_1")
    assert os.listdir(tmp_path) == []


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


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path, value):
    model = nn.Linear(2, 2)
    checkpointer = Checkpointer(model, str(tmp_path))
    checkpointer.save("good")
    torch.save(
        {"model": {**model.state_dict(), "bias": torch.tensor([0.0, value])}}, tmp_path / "b"
    )
    with pytest.raises(WeightsError, match=r"/b has weights that are not finite: 1 .*bias"):
        checkpointer.load(str(tmp_path / "b"))
    with torch.no_grad():
        model.weight[0, 1] = value
    with pytest.raises(FloatingPointError, match="1 of 2 weights are not finite, such as weight"):
        checkpointer.save("bad")
    assert sorted(os.listdir(tmp_path)) == ["b", "good.pth", "last_checkpoint"]
    assert checkpointer.get_checkpoint_file() == str(tmp_path / "good.pth")


def test_a_full_disk_is_one_clear_line_and_the_older_file_stays(tmp_path):
    path = tmp_path / "model.pth"
    save_weights(str(path), {"model": {"w": torch.ones(1)}})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses to write more than that into a file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"model\.pth is not written \(\d+ MB are free") as error:
            save_weights(str(path), {"model": {"w": torch.ones(100_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["model.pth"]
    assert torch.load(path, weights_only=True)["model"]["w"].item() == 1


def test_without_weights_only_a_training_may_start():
    with pytest.raises(WeightsError, match=r"MODEL\.WEIGHTS is empty"):
        Checkpointer(nn.Linear(1, 1)).load("")
    start = Checkpointer(nn.Linear(1, 1), rules=LoadingRules())
    assert start.resume_or_load("", resume=False) == {}


class Classifier(nn.Module):
    """Named classes, and queries, as DETR has them."""

    def __init__(self, names, queries=4, more=False):
        super().__init__()
        self.class_names = names
        self.box_head = nn.Module()
        self.box_head.class_embed = nn.Linear(2, len(names) + 1)
        self.query_embed = nn.Embedding(queries, 2)
        if more:
            self.mask_head = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["pipe", "brick stone"]}, r"lacks the classes brick stone; it has pipe, brick"),
        ({"more": True}, r"lacks 2 tensors, such as mask_head\.bias"),
        ({"queries": 5}, r"has 4 queries; the config has 5"),
    ],
)
def test_what_the_weights_lack_is_an_error_unless_a_training_starts(tmp_path, change, message):
    Checkpointer(Classifier(["pipe", "brick"]), str(tmp_path)).save("model")
    other = Classifier(**{"names": ["pipe", "brick"], **change})
    before = other.box_head.class_embed.weight.clone()
    rules = LoadingRules()
    for resumed in (
        Checkpointer(other, str(tmp_path)),
        Checkpointer(other, str(tmp_path), rules=rules),
    ):
        with pytest.raises(WeightsError, match=message):
            resumed.resume_or_load("", resume=True)
    with pytest.raises(WeightsError, match=message):
        Checkpointer(other).load(str(tmp_path / "model.pth"))
    assert torch.equal(other.box_head.class_embed.weight, before)
    start = Checkpointer(other, rules=rules)
    start.resume_or_load(str(tmp_path / "model.pth"), resume=False)
    # Fewer queries, and other orders of the same names, are right everywhere.
    fewer = Classifier(["Brick", "pipe"], queries=3)
    Checkpointer(fewer).load(str(tmp_path / "model.pth"))


def test_without_a_folder_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Checkpointer(nn.Linear(2, 2)).save("model_1")
    assert os.listdir(tmp_path) == []


def test_states_are_loaded_that_are_asked_for_and_in_the_file(tmp_path):
    """The file has the states a and b, but not c; what is not loaded is given back."""
    Checkpointer(nn.Linear(2, 2), str(tmp_path), a=Counter(3), b=Counter(4)).save("model", best=5)
    counters = {name: Counter(0) for name in "abc"}
    checkpointer = Checkpointer(nn.Linear(2, 2), **counters)
    rest = checkpointer.load(str(tmp_path / "model.pth"), ["b", "c"])
    assert {name: counter.value for name, counter in counters.items()} == {"a": 0, "b": 4, "c": 0}
    assert rest == {"a": {"value": 3}, "best": 5}
    # None at all is not the same as all of them.
    rest = checkpointer.load(str(tmp_path / "model.pth"), [])
    assert counters["a"].value == 0 and set(rest) == {"a", "b", "best"}


def test_the_config_is_compared_with_the_weights(tmp_path):
    torch.save(fill(resnet_shapes()), tmp_path / "resnet.pth")
    cfg = tiny_cfg()
    cfg.INPUT.FORMAT = "BGR"
    with pytest.raises(WeightsError, match=r"resnet\.pth needs other settings.*\n.*FORMAT RGB"):
        Checkpointer(nn.Linear(1, 1), cfg=cfg).load(str(tmp_path / "resnet.pth"))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OSError, match=r"run/model\.pth is not written: .*run") as error:
        save_weights(str(tmp_path / "run/model.pth"), {"model": {}})
    assert "\n" not in str(error.value)


def test_the_first_eight_of_many_classes_are_named(tmp_path):
    old, new = [f"old {i}" for i in range(9)], [f"new {i}" for i in range(10)]
    Checkpointer(Classifier(old), str(tmp_path)).save("model")
    message = r"lacks the classes new 0, .*, new 7 and 2 more; it has old 0, .*, old 7 \.\.\. Only"
    with pytest.raises(WeightsError, match=message.replace(" Only", r"\. Only")):
        Checkpointer(Classifier(new)).load(str(tmp_path / "model.pth"))
