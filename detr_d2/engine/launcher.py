"""Start a job in one process or many: Detectron2's options, torchrun, or SLURM's srun."""

import argparse
import logging
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from detr_d2.engine.watch import Watch
from detr_d2.engine.world import World, find_world

logger = logging.getLogger(__name__)

Main = Callable[[argparse.Namespace], Any]
# To find each other at the start, and for one exchange: evaluation lets processes wait long.
MEETING, EXCHANGE = timedelta(minutes=5), timedelta(hours=2)
# Seconds in which processes that have lost one may end by themselves, and in which they may
# write a checkpoint after a signal.
SECONDS_TO_END, SECONDS_TO_SAVE = 15.0, 120.0
INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
# How torch reports that another process is gone.
CONNECTION = re.compile(r"gloo|nccl|connection|socket|broken pipe|store", re.IGNORECASE)


def launch(main: Main, args: argparse.Namespace) -> Any:
    """Run `main(args)` in every process of the job.

    Args:
        main: picklable, a function of a module.
        args: with Detectron2's num_gpus (processes on this machine), num_machines, machine_rank
            and dist_url.

    Returns:
        What main returns, in a job of one process or started from outside; else None.

    Raises:
        ValueError: torchrun or SLURM has started the processes, and --num-gpus asks for more.
        SystemExit: one of the processes started here has failed; the message names it.
    """
    world = find_world(os.environ)
    own = args.num_gpus * args.num_machines
    if world is not None and own > 1:
        raise ValueError(
            f"--num-gpus {args.num_gpus} --num-machines {args.num_machines}: torchrun or SLURM has "
            f"started {world.size} processes already; leave these options out"
        )
    if world is not None and world.size > 1:
        return _run(main, args, world)
    return _start_here(main, args) if own > 1 else main(args)


def _run(main: Main, args: argparse.Namespace, world: World) -> Any:
    """Run in a process that has a place among others; a RuntimeError names one that is lost."""
    watch = _join(world)
    try:
        result = main(args)
    except SystemExit:
        watch.finish()
        raise
    except BaseException as error:
        # A broken connection is another's fault: the watch finds out whose.
        lost = watch.lost(wait=45.0) if CONNECTION.search(str(error)) else ""
        watch.fail(lost or f"{type(error).__name__}: {error}")
        if lost:
            raise RuntimeError(lost) from error
        raise
    watch.finish()
    dist.destroy_process_group()
    return result


def _join(world: World) -> Watch:
    """Meet the others, and begin to watch them."""
    use_gpu = torch.cuda.is_available()
    if use_gpu:
        # A scheduler may show each process its own GPU only.
        count = torch.cuda.device_count()
        torch.cuda.set_device(0 if count == 1 else world.local_rank)
    try:
        store, rank, size = next(rendezvous(world.url, world.rank, world.size, timeout=MEETING))
    except RuntimeError as error:
        raise RuntimeError(
            f"process {world.rank} has not met all {world.size} at {world.url} in {MEETING}; are "
            f"all of them started (under SLURM with srun)? {str(error).splitlines()[0]}"
        ) from error
    dist.init_process_group(
        "nccl" if use_gpu else "gloo",
        store=PrefixStore("group", store),
        rank=rank,
        world_size=size,
        timeout=EXCHANGE,
    )
    comm.create_local_process_group(world.local_size)
    watch = Watch(PrefixStore("watch", store.clone()), rank, size, _end_at_once)
    watch.start()
    comm.synchronize()
    return watch


def _end_at_once(reason: str) -> None:
    """End a process whose main thread may wait for the lost one for ever."""
    # Long enough for the main thread to report its own view.
    time.sleep(5.0)
    os._exit(1)


def _start_here(main: Main, args: argparse.Namespace) -> None:
    """Start this machine's processes, and end them all when one fails."""
    # On one machine any port does; Detectron2's is the same for all jobs of a user.
    url = args.dist_url if args.num_machines > 1 else f"tcp://127.0.0.1:{_free_port()}"
    worlds = _worlds(args, url)
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = [
        context.Process(target=_run, args=(main, args, world)) for world in worlds
    ]
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in processes:
            if process.is_alive() and process.pid:
                os.kill(process.pid, number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for process in processes:
            process.start()
        failed = _wait(processes, received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        sys.exit(128 + received[0])
    if failed is not None:
        world = worlds[processes.index(failed)]
        sys.exit(f"{_ending(failed, world)}; the others were ended")


def _worlds(args: argparse.Namespace, url: str) -> list[World]:
    """Places of this machine's processes, which meet those of the others at `url`."""
    own = args.num_gpus
    first, size = args.machine_rank * own, args.num_machines * own
    return [World(first + local, size, local, own, url) for local in range(own)]


def _wait(processes: Sequence[BaseProcess], received: Sequence[int]) -> BaseProcess | None:
    """Wait for all; the first that fails, if any, after which the others get little time."""
    failed, deadline = None, float("inf")
    while alive := [process for process in processes if process.is_alive()]:
        multiprocessing.connection.wait([process.sentinel for process in alive], timeout=1.0)
        bad = [process for process in processes if process.exitcode]
        if failed is None and bad:
            failed = bad[0]
            interrupted = bool(received) or failed.exitcode in INTERRUPTED
            deadline = time.monotonic() + (SECONDS_TO_SAVE if interrupted else SECONDS_TO_END)
        if time.monotonic() > deadline:
            for process in alive:
                process.kill()
    return failed or next((process for process in processes if process.exitcode), None)


def _ending(failed: BaseProcess, world: World) -> str:
    code = failed.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return f"process {world.rank} of {world.size} on {socket.gethostname()} ended with {how}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
