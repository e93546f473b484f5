"""tools/examples: a demo over several seeds, and what its time is measured by."""

import json
import subprocess
import sys
from types import SimpleNamespace

import calibration
import pytest
import run_demo
import torch
from two_stages import Clock, DataSet, Job

WORK = "import time\nwhile time.process_time() < 0.3: pass"


def metrics(pq: float, things: float) -> dict[str, float]:
    costs = {"train_seconds": 9, "train_cpu_seconds": 17, "calibration_seconds": 0.5}
    return {"PQ": pq, "PQ_th": things, "PQ_st": 91.0, "box_AP": 5.5, "mask_AP": 4.5, **costs}


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that run, in the place of trainings; PQ is 10 times the seed."""
    started = []

    def run(self):
        started.append(self)
        return metrics(10.0 * self.seed, 70.0 - self.seed)

    monkeypatch.setattr(Job, "run", run)
    monkeypatch.setattr(run_demo, "prepare", lambda data: [DataSet("a", data, data, data)])
    return started


def test_several_seeds_have_a_folder_each_and_one_table(jobs, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "picture.png"
    arguments = ["--out", str(tmp_path), "--picture", str(picture), "--seeds", "3", "5", "3"]
    monkeypatch.setattr(sys, "argv", ["run_demo.py", *arguments])
    run_demo.main()
    assert [(job.seed, job.out.name) for job in jobs] == [(3, "seed_3"), (5, "seed_5")]
    assert [job.picture for job in jobs] == [picture, None]
    rows = [line.split()[1::2] for line in capsys.readouterr().out.splitlines()]
    assert ["worst", "30", "65", "91", "5.5", "4.5"] in [row[:6] for row in rows]
    assert ["mean", "40", "66", "91", "5.5", "4.5"] in [row[:6] for row in rows]
    written = json.loads((tmp_path / "seeds.json").read_text())
    assert written == {"3": metrics(30.0, 67.0), "5": metrics(50.0, 65.0)}


def test_one_seed_lies_in_the_folder_itself(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_demo.py", "--out", str(tmp_path)])
    run_demo.main()
    assert [(job.seed, job.out) for job in jobs] == [(1, tmp_path)]
    assert not (tmp_path / "seeds.json").exists()


def test_each_training_gets_the_seed_and_the_metrics_name_it(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    monkeypatch.setattr("two_stages.calibrate", lambda: 0.25)
    monkeypatch.setattr(Job, "_draw", lambda *_: None)
    (tmp_path / "panoptic").mkdir()
    (tmp_path / "a.json").write_text('{"images": [{}, {}]}')
    # The folder of an earlier run goes first; the evaluation writes its file into it.
    monkeypatch.setattr("two_stages.shutil.rmtree", lambda *_, **__: None)
    (tmp_path / "panoptic/evaluation.json").write_text('{"PQ": 50.126, "mIoU": null}')
    data = DataSet("a", tmp_path, tmp_path, tmp_path / "a.json")
    config = tmp_path / "config.yaml"
    found = Job(tmp_path, config, config, [data], pictures=1, seed=7).run()
    assert [command[command.index("SEED") + 1] for command in commands] == ["7"] * 3
    assert found.items() >= {"PQ": 50.13, "images": 2, "seed": 7}.items()
    assert found["calibration_seconds"] == 0.25
    assert found["threads"] == torch.get_num_threads()


def test_the_clock_counts_what_ended_subprocesses_worked():
    clock = Clock()
    subprocess.run([sys.executable, "-c", WORK], check=True)
    clock.stop()
    once = clock.cpu_seconds
    assert once >= 0.3 and clock.seconds > 0
    subprocess.run([sys.executable, "-c", WORK], check=True)  # while it stands still
    clock.start()
    clock.stop()
    assert clock.cpu_seconds - once < 0.1


def test_calibration_is_the_least_of_equal_trials(monkeypatch):
    monkeypatch.setattr(calibration, "PASSES", 1)
    # Start and end of the first trial, which does not count, and of three more: 9, 3, 2, 4 seconds.
    times = iter([0, 9, 10, 13, 20, 22, 30, 34])
    monkeypatch.setattr(calibration, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    assert calibration.calibrate() == 2
