"""kill -9 at random moments of a training, in the middle of writing above all, and of the tool.

A few moments; DETR_D2_KILLS=50 tries fifty.
"""

import functools
import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
import toy_model  # noqa: F401  registers the model
from kills import assert_no_half_file, moments_of, run_and_kill
from tiny_model import tiny_cfg
from training_states import assert_same, log_of

from detr_d2.engine import DetrTrainer

TOOL = Path(__file__).resolve().parents[2] / "tools/train_net.py"

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    # There a backward pass has threads, of which a forked process knows nothing.
    pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there"),
]


def train(cfg, resume: bool) -> None:
    trainer = DetrTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()


def lines_of(folder) -> list[int]:
    return [json.loads(line)["iteration"] for line in (folder / "metrics.json").open()]


def test_a_killed_training_resumes_to_the_same_weights(toy_cfg, tmp_path):
    toy_cfg.SOLVER.MAX_ITER = 6
    toy_cfg.SOLVER.EMA.ENABLED = True
    root, whole = tmp_path / "output", tmp_path / "whole"
    work = functools.partial(train, toy_cfg, True)
    for moment in moments_of(work, root, seed=1):
        if not whole.exists():
            root.rename(whole)
        shutil.rmtree(root, ignore_errors=True)
        run_and_kill(work, root, moment)
        assert_no_half_file(root)
        run_and_kill(work, root, None)
        for name in ("model_final.pth", "model_ema.pth"):
            first, second = (torch.load(f / name, weights_only=True) for f in (whole, root))
            for key, value in first["model"].items():
                assert torch.equal(value, second["model"][key]), (moment, name, key)
        # The evaluation at the end, done again, is logged at the next number by Detectron2.
        steps = [
            [line for line in lines_of(f) if line < toy_cfg.SOLVER.MAX_ITER] for f in (root, whole)
        ]
        assert steps[0] == steps[1], moment
        assert not list(root.glob(".partial-*")), moment


@pytest.fixture
def command(tiny_set):
    """Arguments of the tool: DETR with dropout, averaged weights; 60 steps, a checkpoint at 30."""
    cfg = tiny_cfg("Detr")
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.MODEL.DETR.DROPOUT = 0.3
    cfg.DATASETS.TRAIN = ("tiny",)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TRAIN = (24, 32)
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SOLVER.MAX_ITER = 60
    cfg.SOLVER.STEPS = (40,)
    cfg.SOLVER.WARMUP_ITERS = 35
    cfg.SOLVER.CHECKPOINT_PERIOD = 30
    cfg.SOLVER.EMA.ENABLED = True
    cfg.SOLVER.EMA.DECAY = 0.9
    cfg.SEED = 3
    path = tiny_set.root / "config.yaml"
    path.write_text(cfg.dump())
    files = [str(path) for path in tiny_set.paths().values()]
    return ["--config-file", str(path), "--dataset", "tiny", *files]


def run_tool(arguments: list[str]) -> None:
    sys.argv = [str(TOOL), *arguments]
    runpy.run_path(str(TOOL), run_name="__main__")


def test_thirty_steps_of_the_tool_kill_and_thirty_resumed_are_sixty(command, tiny_set):
    whole, parts, images = (tiny_set.root / name for name in ("whole", "parts", "images"))
    # Each step opens its images: the process is killed while it reads those of step 34.
    opened = run_and_kill(lambda: run_tool([*command, "OUTPUT_DIR", str(whole)]), images, None)
    pair = ["OUTPUT_DIR", str(parts)]
    run_and_kill(lambda: run_tool([*command, *pair]), images, round(opened * 34.5 / 60))
    assert (parts / "last_checkpoint").read_text() == "model_0000029.pth"
    assert not (parts / "model_final.pth").exists()
    opened_later = run_and_kill(lambda: run_tool([*command, "--resume", *pair]), images, None)
    assert opened_later == pytest.approx(opened / 2, rel=0.05)
    assert_same(whole, parts)
    # The learning rate has changed after the kill too.
    rates = {line["iteration"]: line["lr"] for line in log_of(parts) if "lr" in line}
    assert rates[39] > rates[59]
