"""The log of a training: what a checkpoint keeps of it, and how a resumed training goes on."""

import json
from types import SimpleNamespace

import pytest
from detectron2.utils.events import EventStorage

from detr_d2.engine.hooks import WINDOW, LogHook, MetricsFile


def hook_of(storage):
    hook = LogHook([])
    hook.trainer = SimpleNamespace(storage=storage, start_iter=storage.iter)
    return hook


def test_the_latest_values_are_kept_as_they_were_smoothed():
    count = WINDOW + 5
    with EventStorage() as storage:
        for _ in range(count):
            storage.put_scalar("loss", 10.0 * storage.iter)
            storage.put_scalar("lr", 0.1, smoothing_hint=False)
            storage.step()
        state = hook_of(storage).state_dict()
    latest = range(count - WINDOW, count)
    assert state["loss"] == (True, [(10.0 * n, n) for n in latest])
    assert state["lr"] == (False, [(0.1, n) for n in latest])
    with EventStorage(count) as resumed:
        hook = hook_of(resumed)
        hook.load_state_dict(state)
        hook.before_train()
        assert resumed.histories()["loss"].values() == state["loss"][1]
        assert resumed.smoothing_hints() == {"loss": True, "lr": False}


def metrics_of(folder, *iterations, cut=""):
    lines = "".join(json.dumps({"iteration": n, "loss": 0.5}) + "\n" for n in iterations)
    path = folder / "metrics.json"
    path.write_text(lines + cut)
    return MetricsFile(str(path))


@pytest.mark.parametrize(
    ("start", "cut", "left"),
    [
        (5, "", [1, 3]),
        (4, "", [1, 3]),
        (3, "", [1]),
        (9, "", [1, 3, 5]),
        (9, '{"itera', [1, 3, 5]),
        # The next line would be written behind it.
        (9, '{"iteration": 7}', [1, 3, 5]),
    ],
)
def test_a_resumed_training_drops_the_lines_that_it_writes_again(tmp_path, start, cut, left):
    file = metrics_of(tmp_path, 1, 3, 5, cut=cut)
    file.continue_from(start)
    lines = (tmp_path / "metrics.json").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == left
    assert file.has(left[-1]) and not file.has(left[-1] + 1)
    file.close()


@pytest.mark.parametrize(("iteration", "done"), [(4, ["write", "close"]), (3, ["close"])])
def test_what_is_left_is_written_at_the_end_alone(iteration, done):
    """Of four steps; a training that was interrupted after three writes it when it goes on."""
    calls = []
    writer = SimpleNamespace(
        write=lambda: calls.append("write"), close=lambda: calls.append("close")
    )
    hook = LogHook([])
    hook._writers = [writer]
    hook.trainer = SimpleNamespace(iter=iteration, max_iter=4)
    hook.after_train()
    assert calls == done
