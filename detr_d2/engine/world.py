"""Find this process's place among those of a job: in torchrun's environment, or in SLURM's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """A process's place.

    Attributes:
        rank, size: number of this process, from 0, and how many there are.
        local_rank, local_size: the same among those of this machine.
        url: where they meet, as torch.distributed has it.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    url: str


def find_world(environment: Mapping[str, str]) -> World | None:
    """Read the place from the environment.

    Returns:
        None if neither torchrun nor SLURM has started this process.

    Raises:
        ValueError: a variable is missing or no number, or machines have unlike numbers of tasks.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return _torchrun(environment)
    if "SLURM_PROCID" in environment and _slurm_size(environment) > 1:
        return _slurm(environment)
    return None


def _torchrun(environment: Mapping[str, str]) -> World:
    size = _number(environment, "WORLD_SIZE")
    if size > 1:
        for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            if name not in environment:
                raise ValueError(f"RANK and WORLD_SIZE are set, but {name} is not; use torchrun")
    return World(
        rank=_number(environment, "RANK"),
        size=size,
        local_rank=_number(environment, "LOCAL_RANK", "0"),
        local_size=_number(environment, "LOCAL_WORLD_SIZE", "1"),
        url="env://",
    )


def _slurm_size(environment: Mapping[str, str]) -> int:
    # Of the step that srun has started; in a simulated or older environment, of the whole job.
    name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    return _number(environment, name, "1")


def _slurm(environment: Mapping[str, str]) -> World:
    size = _slurm_size(environment)
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    host = environment.get("MASTER_ADDR") or _first_host(nodes)
    # Jobs on one machine must not meet at one port.
    port = 20000 + _number(environment, "SLURM_JOB_ID", "0") % 20000
    return World(
        rank=_number(environment, "SLURM_PROCID"),
        size=size,
        local_rank=_number(environment, "SLURM_LOCALID"),
        local_size=_tasks_per_node(environment, size),
        url=f"tcp://{host}:{environment.get('MASTER_PORT', port)}",
    )


def _first_host(nodes: str) -> str:
    """Of SLURM's short form: "gpu[03-05,9],x1" gives gpu03."""
    match = re.match(r"([^\[,]+)(?:\[([^\],-]+))?", nodes)
    return f"{match[1]}{match[2] or ''}" if match else "127.0.0.1"


def _tasks_per_node(environment: Mapping[str, str], size: int) -> int:
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"):
        text = environment.get(name)
        if text is None:
            continue
        match = re.fullmatch(r"(\d+)(\(x\d+\))?", text)
        if match is None:
            raise ValueError(f"{name} is {text!r}; give every machine the same number of tasks")
        return int(match[1])
    return size // max(_number(environment, "SLURM_NNODES", "1"), 1)


def _number(environment: Mapping[str, str], name: str, default: str | None = None) -> int:
    text = environment.get(name, default)
    if text is None or not text.isdigit():
        raise ValueError(f"the environment's {name} is {text!r}, must be a number from 0")
    return int(text)
