import contextlib
import copy
import itertools
import math
import types

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from detr_d2.engine import step as step_module
from detr_d2.engine.step import AccumulatingTrainer, choose_precision


class Regression(nn.Module):
    """Mean squared error of w · x against y, and the mean of w · x times 0.1."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.dtypes = []

    def forward(self, batch):
        x = torch.stack([one["x"] for one in batch])
        y = torch.stack([one["y"] for one in batch])
        result = self.linear(x)[:, 0]
        self.dtypes.append(result.dtype)
        return {"loss_fit": (result - y).square().mean(), "loss_size": 0.1 * result.mean()}


def samples(count):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "x": torch.randn(2, generator=generator),
            "y": torch.randn((), generator=generator),
            "image_id": number,
            "file_name": f"{number}.jpg",
        }
        for number in range(count)
    ]


def make(model, batches, lr=0.1, **kwargs):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return AccumulatingTrainer(model, itertools.cycle(batches), optimizer, **kwargs)


def step(trainer):
    with EventStorage() as storage:
        trainer.iter = 0
        trainer.run_step()
    return {name: value for name, (value, _) in storage.latest().items()}


def test_two_micro_batches_give_the_gradient_and_losses_of_one_batch():
    images = samples(4)
    model = Regression()
    whole, parts = copy.deepcopy(model), copy.deepcopy(model)

    logged_whole = step(make(whole, [images]))
    logged_parts = step(make(parts, [images[:2], images[2:]], accumulate=2))

    for a, b, before in zip(
        whole.parameters(), parts.parameters(), model.parameters(), strict=True
    ):
        torch.testing.assert_close(a.grad, b.grad)
        torch.testing.assert_close(a, b)
        assert not torch.equal(a, before)
    for name in ("loss_fit", "loss_size", "total_loss"):
        assert logged_parts[name] == pytest.approx(logged_whole[name])


def test_processes_exchange_gradients_once_a_step(monkeypatch):
    calls = []

    class Wrapped(Regression):
        """Stands for DistributedDataParallel; notes which batches it runs without exchange."""

        quiet = False

        @contextlib.contextmanager
        def no_sync(self):
            self.quiet = True
            yield
            self.quiet = False

        def forward(self, batch):
            calls.append(self.quiet)
            return super().forward(batch)

    monkeypatch.setattr(step_module, "DistributedDataParallel", Wrapped)
    step(make(Wrapped(), [samples(2)], accumulate=3))
    assert calls == [True, True, False]


def test_gradients_do_not_leak_into_the_next_step():
    images = samples(2)
    once, twice = Regression(), Regression()
    twice.load_state_dict(once.state_dict())
    trainer = make(twice, [images], lr=0.0, accumulate=2)
    step(make(once, [images], lr=0.0))
    step(trainer)
    step(trainer)
    torch.testing.assert_close(twice.linear.weight.grad, once.linear.weight.grad)


def test_gradients_are_clipped_after_the_last_micro_batch():
    images = samples(4)
    model = Regression()
    before = [p.detach().clone() for p in model.parameters()]

    def clip(parameters):
        return nn.utils.clip_grad_norm_(parameters, 0.01)

    logged = step(make(model, [images[:2], images[2:]], lr=1.0, accumulate=2, clip=clip))

    moved = torch.cat([(p - b).flatten() for p, b in zip(model.parameters(), before, strict=True)])
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)
    assert logged["grad_norm"] > 0.1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_loss_names_itself_and_the_images_and_leaves_the_weights(value):
    images = samples(4)
    images[3]["y"] = torch.tensor(value)
    model = Regression()
    before = copy.deepcopy(model.state_dict())

    with pytest.raises(FloatingPointError) as error:
        step(make(model, [images[:2], images[2:]], accumulate=2))

    text = str(error.value)
    assert "loss_fit" in text
    assert "2 (2.jpg), 3 (3.jpg)" in text
    assert "0.jpg" not in text
    assert "loss_size" not in text
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])


def test_mixed_precision_computes_in_bfloat16_and_keeps_weights_in_float32():
    precision = choose_precision(True, torch.device("cpu"))
    model = Regression()
    before = model.linear.weight.detach().clone()
    step(make(model, [samples(2)], precision=precision))
    assert model.dtypes == [torch.bfloat16]
    assert model.linear.weight.dtype == torch.float32
    assert not torch.equal(model.linear.weight, before)


def test_without_mixed_precision_everything_is_float32():
    assert choose_precision(False, torch.device("cpu")) is None
    model = Regression()
    step(make(model, [samples(2)]))
    assert model.dtypes == [torch.float32]


def test_a_model_left_in_evaluation_mode_and_a_wrong_number_of_parts_are_errors():
    model = Regression()
    trainer = make(model, [samples(2)])
    model.eval()
    with pytest.raises(RuntimeError, match="evaluation mode"):
        step(trainer)
    with pytest.raises(ValueError, match=r"SOLVER\.ACCUMULATE 0"):
        make(model, [samples(2)], accumulate=0)


class Exploding(Regression):
    """Its losses are finite; its gradient is not where y is below 0."""

    def forward(self, batch):
        losses = super().forward(batch)
        if min(one["y"] for one in batch) < 0:
            # The derivative of a root is infinite at 0, and infinity times 0 is not a number.
            nothing = (0 * self.linear.bias).abs().sum()
            return {**losses, "loss_root": nothing.sqrt()}
        return losses


def with_y(*values):
    images = samples(len(values))
    for image, y in zip(images, values, strict=True):
        image["y"] = torch.tensor(y)
    return images


def run(trainer, count):
    """Metrics of the last of some steps."""
    with EventStorage() as storage:
        for trainer.iter in range(count):
            storage.iter = trainer.iter
            trainer.run_step()
    return {name: value for name, (value, _) in storage.latest().items()}


@pytest.mark.parametrize("clip", [None, lambda p: nn.utils.clip_grad_norm_(p, 0.1)])
def test_a_gradient_that_is_not_finite_is_skipped_and_counted(clip, caplog):
    good, bad = with_y(1.0, 2.0), with_y(-1.0, 2.0)
    model = Exploding()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    trainer = AccumulatingTrainer(model, iter([good, bad, good]), optimizer, clip=clip)
    run(trainer, 1)
    weights = copy.deepcopy(model.state_dict())
    moments = copy.deepcopy(optimizer.state_dict()["state"])
    logged = run(trainer, 1)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, weights[name])
    for number, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(state[name], moments[number][name]) for name in state)
    assert logged["skipped_steps"] == 1
    assert "the gradient is not finite" in caplog.text
    assert "linear.bias; the step is skipped" in caplog.text
    run(trainer, 1)
    assert not torch.equal(model.linear.weight, weights["linear.weight"])
    assert (trainer.skipped, trainer.skipped_in_a_row) == (1, 0)


def test_too_many_skipped_steps_in_a_row_stop_the_training():
    good, bad = with_y(1.0), with_y(-1.0)
    trainer = make(Exploding(), [bad, bad, good, bad, bad, bad], max_skipped=2)
    run(trainer, 5)
    with pytest.raises(FloatingPointError, match=r"in the 2 steps before \(SOLVER\.MAX_SKIPPED"):
        run(trainer, 1)
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_loss_scale_and_skipped_steps_are_resumed():
    first = make(Exploding(), [with_y(-1.0)])
    # The scaler of float16 on a CPU.
    first.grad_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    run(first, 1)
    assert first.grad_scaler.get_scale() == 512.0
    second = make(Exploding(), [with_y(1.0)])
    second.grad_scaler = torch.amp.GradScaler("cpu")
    state = first.state_dict()
    second.load_state_dict(state)
    assert second.grad_scaler.get_scale() == 512.0
    assert second.grad_scaler.get_growth_interval() == 3
    assert (second.skipped, second.skipped_in_a_row) == (1, 1)
    run(second, 3)
    assert second.grad_scaler.get_scale() == 1024.0


def test_loss_scale_does_not_change_the_step():
    model = Regression()
    plain, scaled = copy.deepcopy(model), copy.deepcopy(model)
    trainer = make(scaled, [samples(2)], clip=lambda p: nn.utils.clip_grad_norm_(p, 0.3))
    trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=4096.0)
    logged = step(trainer)
    expected = step(make(plain, [samples(2)], clip=lambda p: nn.utils.clip_grad_norm_(p, 0.3)))
    assert logged["grad_norm"] == pytest.approx(expected["grad_norm"])
    torch.testing.assert_close(scaled.linear.weight, plain.linear.weight)


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_a_gpu_without_bfloat16_gets_float16_and_a_loss_scale(monkeypatch, has_bfloat16):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bfloat16)
    expected = torch.bfloat16 if has_bfloat16 else torch.float16
    assert choose_precision(True, torch.device("cuda")) is expected
    assert choose_precision(True, torch.device("cpu")) is torch.bfloat16
    assert choose_precision(False, torch.device("cuda")) is None
    # bfloat16 has the range of float32: nothing to scale.
    trainer = make(Regression(), [samples(2)], precision=expected)
    assert trainer.grad_scaler.is_enabled() is not has_bfloat16


def test_the_time_for_data_is_that_of_all_micro_batches(monkeypatch):
    """A clock that goes on by 1 s at each look: each of three batches takes 1 s."""
    clock = types.SimpleNamespace(perf_counter=itertools.count().__next__)
    monkeypatch.setattr(step_module, "time", clock)
    assert step(make(Regression(), [samples(1)], accumulate=3))["data_time"] == 3
