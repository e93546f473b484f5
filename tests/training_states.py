"""Compare what two trainings have left in their folders."""

import json
import os
from typing import Any

import torch

# Kept apart from the rest of a line of metrics.json: they differ from run to run.
TIMES = ("time", "data_time", "rank_data_time", "eta_seconds")


def assert_same(first: str | os.PathLike, second: str | os.PathLike) -> None:
    """Weights, optimizer, average, learning rates, place in the data: all that is in the files."""
    for name in ("model_final.pth", "model_ema.pth"):
        states = [torch.load(os.path.join(d, name), weights_only=True) for d in (first, second)]
        assert differences(*states) == []
    assert log_of(first) == log_of(second)


def differences(first: Any, second: Any, path: str = "") -> list[str]:
    """Where two nested states differ; times apart."""
    if isinstance(first, dict):
        keys, others = ({key for key in state if key not in TIMES} for state in (first, second))
        if keys != others:
            return [f"{path}: {keys ^ others}"]
        return [f for key in keys for f in differences(first[key], second[key], f"{path}/{key}")]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [f"{path}: {len(first)} and {len(second)} entries"]
        pairs = enumerate(zip(first, second, strict=True))
        return [f for i, (a, b) in pairs for f in differences(a, b, f"{path}/{i}")]
    same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
    return [] if same else [path]


def log_of(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of metrics.json without times."""
    with open(os.path.join(folder, "metrics.json")) as file:
        lines = [json.loads(line) for line in file]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
