import os
import types

import pytest
import torch
from torch import nn

from detr_d2.checkpoint.checkpointer import Checkpointer
from detr_d2.engine.ema import WeightAverage, WeightAverageHook, decay_at


class Scalar(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(value)]))
        self.register_buffer("count", torch.tensor([0]))


def set_weight(model, value):
    with torch.no_grad():
        model.weight.fill_(value)


def test_decay_rises_from_a_tenth_to_its_limit():
    assert decay_at(0, 0.999) == pytest.approx(0.1)
    assert decay_at(8, 0.999) == pytest.approx(9 / 18)
    assert decay_at(10**6, 0.999) == 0.999


def test_average_by_hand():
    model = Scalar(5.0)
    average = WeightAverage(model, 0.5)
    set_weight(model, 10.0)
    average.update()  # the first copies
    assert average.module().weight.item() == 10.0
    set_weight(model, 20.0)
    average.update()  # keeps (1 + 1) / (10 + 1) = 2 / 11 of the old
    expected = 10 * 2 / 11 + 20 * 9 / 11
    assert average.module().weight.item() == pytest.approx(expected)
    for value in range(20):
        set_weight(model, value)
        average.update()
    before = average.module().weight.item()
    set_weight(model, 100.0)
    average.update()  # by now the share is DECAY itself
    assert average.module().weight.item() == pytest.approx(0.5 * before + 50.0)


def test_the_model_itself_is_not_touched_and_buffers_are_the_newest():
    model = Scalar(1.0)
    average = WeightAverage(model, 0.9)
    average.update()
    set_weight(model, 3.0)
    model.count.fill_(7)
    average.update()
    assert model.weight.item() == 3.0
    assert average.module().count.item() == 7
    assert not average.module().weight.requires_grad


def test_decay_out_of_range_is_an_error():
    with pytest.raises(ValueError, match=r"DECAY 1\.5"):
        WeightAverage(Scalar(0), 1.5)


def run(hook, model, values, start=0, max_iter=4):
    trainer = types.SimpleNamespace(iter=start, max_iter=max_iter)
    hook.trainer = trainer
    hook.before_train()
    for trainer.iter, value in enumerate(values, start=start):
        set_weight(model, value)
        hook.after_step()


def test_file_at_each_period_and_at_the_end_loads_as_weights(tmp_path):
    path = tmp_path / "model_ema.pth"
    model = Scalar(0.0)
    hook = WeightAverageHook(model, 0.5, 2, str(tmp_path))
    run(hook, model, [1.0])
    assert not path.exists()
    run(hook, model, [1.0, 1.0])
    assert path.exists()
    os.remove(path)
    run(hook, model, [1.0, 2.0, 3.0], max_iter=3)
    fresh = Scalar(-1.0)
    Checkpointer(fresh).load(str(path))
    assert fresh.weight.item() == pytest.approx(hook.weights.module().weight.item())


def test_average_starts_from_weights_loaded_after_the_hook_was_made(tmp_path):
    model = Scalar(0.0)
    hook = WeightAverageHook(model, 0.999, 0, str(tmp_path))
    set_weight(model, 50.0)
    run(hook, model, [])
    assert hook.weights.module().weight.item() == 50.0


def test_resumed_average_goes_on_as_if_never_stopped(tmp_path):
    values = [1.0, 4.0, 9.0, 16.0]
    model = Scalar(0.0)
    whole = WeightAverageHook(model, 0.7, 0, str(tmp_path))
    run(whole, model, values)

    model = Scalar(0.0)
    first = WeightAverageHook(model, 0.7, 0, str(tmp_path))
    run(first, model, values[:2])
    model = Scalar(0.0)
    second = WeightAverageHook(model, 0.7, 0, str(tmp_path))
    second.load_state_dict(first.state_dict())
    run(second, model, values[2:], start=2)

    assert torch.equal(second.weights.module().weight, whole.weights.module().weight)
