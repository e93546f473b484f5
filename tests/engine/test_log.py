"""What a checkpoint keeps of the log."""

from types import SimpleNamespace

from detectron2.utils.events import EventStorage

from detr_d2.engine.hooks import WINDOW, LogHook


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
