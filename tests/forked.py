"""Several processes of one machine for a test, forked: without the imports that new ones repeat."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from torch import distributed, multiprocessing


def launch_forked(function: Callable[..., object], count: int, args: tuple[Any, ...]) -> None:
    """Run a function in `count` processes of one group, as Detectron2's `launch` does.

    Where a GPU may have been used, which a forked process cannot do, they are started anew.
    """
    method = "spawn" if torch.cuda.is_available() else "fork"
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store").as_uri()
        multiprocessing.start_processes(
            _run, (function, count, store, args), nprocs=count, start_method=method
        )


def _run(
    rank: int, function: Callable[..., object], count: int, store: str, args: tuple[Any, ...]
) -> None:
    # Threads do not survive a fork.
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=count)
    comm.create_local_process_group(count)
    function(*args)
    comm.synchronize()
    distributed.destroy_process_group()
