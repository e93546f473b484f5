"""Two machines, as launches that meet at an address of this one; and torchrun's environment."""

import json
import logging
import os
import signal
import socket
import sys
from argparse import Namespace

import pytest
import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from kills import start_child
from one_size import one_size_cfg, results_of, train
from tiny_model import processes
from toy_model import ToyModel  # noqa: F401  registers itself

from detr_d2.engine import DetrTrainer, launch
from detr_d2.engine.watch import Watch

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="threads of a GPU do not survive a fork"),
]


@pytest.fixture
def cfg(tiny_set, register, tmp_path):
    return one_size_cfg(register(**tiny_set.paths()), tmp_path / "one")


def fork(work, args, environment, log):
    """Start `launch` in a process of its own whose output goes to a file; its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sys.stdout = sys.stderr = log.open("w", buffering=1)
            logging.basicConfig(stream=sys.stderr, force=True)
            logging.getLogger("detr_d2").propagate = True
            start_child()
            os.environ.update(environment)
            launch(work, args)
            code = 0
        except BaseException as error:
            sys.stdout.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(code)
    return child


def two_launches(port):
    """Options of two machines with two processes each, and what is in their environment."""
    url = f"tcp://127.0.0.1:{port}"
    for rank in range(2):
        options = {"num_gpus": 2, "num_machines": 2, "machine_rank": rank, "dist_url": url}
        yield Namespace(**options), {}


def torchrun(size, machines=1):
    """As torchrun starts so many processes."""

    def way(port):
        local = size // machines
        for rank in range(size):
            place = {"RANK": rank, "WORLD_SIZE": size}
            place |= {"LOCAL_RANK": rank % local, "LOCAL_WORLD_SIZE": local}
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            yield processes(1), {name: str(value) for name, value in place.items()}

    return way


@pytest.fixture
def run_all(tmp_path, forked):
    """Run a function in all processes of a way of starting: exit status and output of each."""

    def run(way, work, cfg):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        children = []
        for number, (args, environment) in enumerate(way(port)):
            log = tmp_path / f"{number}.log"
            args.cfg = cfg
            children.append((fork(work, args, environment, log), log))
        return [
            (os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), log.read_text())
            for child, log in children
        ]

    return run


def train_in_fork(args):
    start_child()
    train(args.cfg)


@pytest.mark.parametrize("way", [two_launches, torchrun(4, machines=2)], ids=["launch", "torchrun"])
def test_four_processes_of_two_machines_learn_what_one_learns(cfg, tmp_path, run_all, way):
    cfg.SOLVER.MAX_ITER = 3
    cfg.OUTPUT_DIR = str(tmp_path / "four")
    for code, output in run_all(way, train_in_fork, cfg):
        assert code == 0, output
    cfg.OUTPUT_DIR = str(tmp_path / "one")
    train(cfg)
    (one, one_weights), (four, four_weights) = (results_of(tmp_path / d) for d in ("one", "four"))
    for first, second in zip(one, four, strict=True):
        assert second == pytest.approx(first, abs=1e-6, rel=1e-6)
    for name, value in one_weights.items():
        torch.testing.assert_close(four_weights[name], value, rtol=0, atol=1e-6, msg=name)


class LastDies(HookBase):
    def after_step(self):
        if comm.get_rank() == 3:
            os.kill(os.getpid(), signal.SIGKILL)


def last_dies(args):
    start_child()
    train(args.cfg, [LastDies()])


def test_a_process_killed_on_one_machine_ends_the_other_and_is_named(cfg, run_all, monkeypatch):
    cfg.SOLVER.MAX_ITER = 100_000
    monkeypatch.setitem(Watch.__init__.__kwdefaults__, "interval", 0.5)
    monkeypatch.setitem(Watch.__init__.__kwdefaults__, "patience", 6.0)
    (first, said_first), (second, said_second) = run_all(two_launches, last_dies, cfg)
    assert (first, second) == (1, 1)
    assert "process 3 of 4 on " in said_first and "is lost: no sign of it for 6 s" in said_first
    assert "ended with signal SIGKILL; the others were ended" in said_second


def evaluate(args):
    start_child()
    DetrTrainer.test(args.cfg, DetrTrainer.build_model(args.cfg))


def test_figures_are_the_same_for_any_number_of_processes(toy_cfg, tmp_path, run_all):
    """Of three images: batches of two and one, shares of two and one, and one each."""
    toy_cfg.TEST.IMS_PER_BATCH = 2
    figures = {}
    for size in (1, 2, 3):
        toy_cfg.OUTPUT_DIR = str(tmp_path / str(size))
        for code, output in run_all(torchrun(size), evaluate, toy_cfg):
            assert code == 0, output
        folder = tmp_path / str(size)
        found = (folder / "inference" / toy_cfg.DATASETS.TEST[0] / "predictions.json").read_text()
        figures[size] = (folder / "evaluation.json").read_text(), found
    assert 0 < json.loads(figures[1][0])["PQ"] < 100
    assert figures[2] == figures[3] == figures[1]
