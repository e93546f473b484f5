"""Processes that are done wait for the others as long as it takes."""

from datetime import timedelta

import pytest
from detectron2.utils import comm
from torch import distributed as dist

from detr_d2.pseudo_labels import run


def test_one_process_needs_no_group():
    assert run.patient_group() is None


@pytest.fixture
def two_processes(tmp_path, monkeypatch):
    """PyTorch's own time limit of 30 minutes, in a world that counts as more than one."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    yield
    dist.destroy_process_group()


def test_the_end_of_a_labelling_is_awaited_for_days(two_processes):
    import torch

    group = run.patient_group()
    limit = group._get_backend(torch.device("cpu")).options._timeout
    assert limit >= timedelta(days=30)
