"""Seeds: every random number of a training follows from SEED and its place in the training.

Each step and each image seeds the generators anew from (SEED, which step or image). So nothing has
to be carried from one step to the next: neither through a checkpoint, nor between processes.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.utils import comm


def fix_seed(cfg: CfgNode) -> None:
    """Put a random SEED, the same in all processes, in the place of a negative one."""
    if cfg.SEED >= 0:
        return
    frozen = cfg.is_frozen()
    cfg.defrost()
    cfg.SEED = comm.all_gather(int.from_bytes(os.urandom(3), "big"))[0]
    if frozen:
        cfg.freeze()


def derive_seed(*parts: int) -> int:
    """A number below 2^64 from numbers from 0: unlike parts give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def seed_generators(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators, those of the devices included."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's generators on the CPU; afterwards they are as before."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
