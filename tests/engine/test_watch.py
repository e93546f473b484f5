"""Two or three processes of a job, as threads with connections of their own to one store."""

import queue

import pytest
from torch.distributed import HashStore, TCPStore

from detr_d2.engine import watch as module
from detr_d2.engine.watch import Watch


@pytest.fixture
def watches():
    """Makes started watches; the losses that they report come in a queue as (rank, sentence)."""
    store = TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    reported = queue.Queue()
    made = []

    def make(size, patience=0.5):
        for rank in range(size):
            watch = Watch(
                store.clone(),
                rank,
                size,
                lambda text, rank=rank: reported.put((rank, text)),
                interval=0.05,
                patience=patience,
            )
            watch.start()
            made.append(watch)
        return made, reported

    yield make
    for watch in made:
        watch._stopped.set()


def test_a_failure_is_reported_to_the_others_with_its_reason(watches):
    made, reported = watches(3, patience=60.0)
    made[1].fail("ValueError: a.jpg is broken")
    losses = dict(reported.get(timeout=20) for _ in range(2))
    assert losses.keys() == {0, 2}
    for text in losses.values():
        assert text.startswith("process 1 of 3 on ")
        assert text.endswith("has failed: ValueError: a.jpg is broken")
    assert made[0].lost(wait=0) == losses[0]


def test_silence_is_a_loss(watches):
    made, reported = watches(2, patience=0.5)
    made[1]._stopped.set()  # as a kill -9 stops it
    rank, text = reported.get(timeout=20)
    assert rank == 0
    assert text.startswith("process 1 of 2 on ") and "is lost: no sign of it" in text


def test_who_has_finished_is_not_missed(watches):
    made, reported = watches(2, patience=0.5)
    made[1].finish()
    with pytest.raises(queue.Empty):
        reported.get(timeout=2.0)
    made[0].finish()
    assert made[0].lost(wait=0) == ""


def test_silence_counts_from_the_last_sign_and_for_as_long_as_the_patience(monkeypatch):
    """The second of two processes is looked at with a clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    store, counts = HashStore(), {}
    first, second = (Watch(store, rank, 2, print, patience=30.0) for rank in range(2))
    said = []
    for now[0], is_alive in [(100.0, 1), (125.0, 1), (155.0, 0), (155.5, 0)]:
        if is_alive:
            second._look({})
        said.append(first._look(counts))
    lost = "process 1 of 2 on an unknown machine is lost: no sign of it for 30 s"
    assert said == ["", "", "", lost]


def test_a_process_does_not_report_its_own_failure():
    store = HashStore()
    first, second = (Watch(store, rank, 2, print) for rank in range(2))
    first.fail("it is full")
    assert first._look({}) == ""
    assert second._look({}) == "process 0 of 2 on an unknown machine has failed: it is full"
