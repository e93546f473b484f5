"""kill -9 at random moments of a training, in the middle of writing above all.

A few moments; DETR_D2_KILLS=50 tries fifty.
"""

import functools
import json
import shutil

import pytest
import torch
import toy_model  # noqa: F401  registers the model
from kills import assert_no_half_file, moments_of, run_and_kill

from detr_d2.engine import DetrTrainer

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
