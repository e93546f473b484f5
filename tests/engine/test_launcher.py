"""What a launch does when its processes end, without starting any."""

from argparse import Namespace

import pytest

from detr_d2.engine import launcher
from detr_d2.engine.world import World


class Process:
    """Ends when it is killed, or has ended."""

    sentinel = killed_at = None

    def __init__(self, exitcode, clock):
        self.exitcode, self.clock = exitcode, clock

    def is_alive(self):
        return self.exitcode is None

    def kill(self):
        self.exitcode, self.killed_at = -9, self.clock[0]


@pytest.fixture
def processes_of(monkeypatch):
    """Makes processes with these exit codes; a second goes by with each look at them."""
    clock = [0]

    def wait(sentinels, timeout):
        clock[0] += 1

    monkeypatch.setattr(launcher.multiprocessing.connection, "wait", wait)
    monkeypatch.setattr(launcher, "time", Namespace(monotonic=lambda: clock[0]))
    return lambda *codes: [Process(code, clock) for code in codes]


@pytest.mark.parametrize(
    ("exitcode", "received", "seconds"),
    [(1, [], 15), (-9, [], 15), (143, [], 120), (130, [], 120), (1, [15], 120)],
)
def test_after_a_failure_the_others_have_little_time_and_after_a_signal_enough_to_save(
    processes_of, exitcode, received, seconds
):
    going_on, failed = processes_of(None, exitcode)
    assert launcher._wait([going_on, failed], received) is failed
    # The failure was seen after one second.
    assert going_on.killed_at == 1 + seconds + 1


def test_a_failure_is_found_when_all_have_ended(processes_of):
    first, second = processes_of(0, 3)
    assert launcher._wait([first, second], []) is second
    assert launcher._wait(processes_of(0, 0), []) is None


@pytest.mark.parametrize(
    ("exitcode", "how"), [(3, "exit status 3"), (-9, "signal SIGKILL"), (-15, "signal SIGTERM")]
)
def test_the_ending_names_the_process(processes_of, monkeypatch, exitcode, how):
    monkeypatch.setattr(launcher.socket, "gethostname", lambda: "gpu07")
    (process,) = processes_of(exitcode)
    text = launcher._ending(process, World(3, 6, 1, 2, ""))
    assert text == f"process 3 of 6 on gpu07 ended with {how}"


@pytest.fixture
def run(monkeypatch):
    """Run an action in a process that has a place among others; what it tells them."""
    told = []

    def _run(action, lost=""):
        def look(wait):
            told.append("looks who is lost")
            return lost

        watch = Namespace(finish=lambda: told.append("well"), fail=told.append, lost=look)
        monkeypatch.setattr(launcher, "_join", lambda world: watch)
        leave = launcher.dist
        monkeypatch.setattr(leave, "destroy_process_group", lambda: told.append("leaves"))
        return launcher._run(action, Namespace(), World(0, 2, 0, 2, ""))

    return _run, told


def raises(error):
    def action(args):
        raise error

    return action


def test_a_process_that_ends_well_says_so_and_leaves(run):
    act, told = run
    assert act(lambda args: 7) == 7
    assert told == ["well", "leaves"]


def test_a_process_that_was_asked_to_end_ends_well(run):
    act, told = run
    with pytest.raises(SystemExit, match="143"):
        act(raises(SystemExit(143)))
    assert told == ["well"]


def test_a_process_that_fails_says_why(run):
    act, told = run
    with pytest.raises(ValueError, match=r"a\.jpg"):
        act(raises(ValueError("a.jpg is broken")))
    assert told == ["ValueError: a.jpg is broken"]


@pytest.mark.parametrize("lost", ["process 1 of 2 is lost", ""])
@pytest.mark.parametrize("message", ["Connection closed by peer", "Broken pipe", "NCCL error"])
def test_a_broken_connection_is_the_fault_of_the_process_that_is_lost(run, lost, message):
    act, told = run
    with pytest.raises(RuntimeError) as raised:
        act(raises(RuntimeError(message)), lost)
    assert str(raised.value) == (lost or message)
    assert told == ["looks who is lost", lost or f"RuntimeError: {message}"]


@pytest.mark.parametrize(
    ("gpus", "machines", "starts"), [(1, 1, False), (2, 1, True), (1, 2, True), (2, 2, True)]
)
def test_only_a_job_of_one_process_runs_where_it_is(monkeypatch, gpus, machines, starts):
    """A machine with one process of its own starts it, too: the others are elsewhere."""
    monkeypatch.setattr(launcher, "find_world", lambda environment: None)
    monkeypatch.setattr(launcher, "_start_here", lambda main, args: "started")
    args = Namespace(num_gpus=gpus, num_machines=machines)
    found = launcher.launch(lambda args: "here", args)
    assert found == ("started" if starts else "here")
