from argparse import Namespace

import pytest

from detr_d2.engine.launcher import _worlds
from detr_d2.engine.world import World, find_world

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "1",
}
SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_LOCALID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "3(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_JOB_ID": "40123",
}


def test_without_torchrun_and_slurm_there_is_no_place():
    assert find_world({"PATH": "/bin", "LOCAL_RANK": "3"}) is None


def test_torchrun():
    assert find_world(TORCHRUN) == World(5, 8, 1, 4, "env://")


def test_srun():
    assert find_world(SLURM) == World(5, 6, 2, 3, "tcp://gpu07:20123")
    own = {"MASTER_ADDR": "10.0.0.9", "MASTER_PORT": "77"}
    found = find_world({**SLURM, **own})
    assert found is not None and found.url == "tcp://10.0.0.9:77"


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("n1", "n1"), ("n1,n2", "n1"), ("gpu[3,5-9],x1", "gpu3"), ("a-b[010-011]", "a-b010")],
)
def test_the_first_machine_of_a_list(nodes, host):
    found = find_world({**SLURM, "SLURM_STEP_NODELIST": nodes})
    assert found is not None and found.url == f"tcp://{host}:20123"


def test_one_task_of_slurm_is_no_job_of_many():
    assert find_world({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None


def test_a_job_whose_step_is_not_known():
    few = {"SLURM_PROCID": "1", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1", "SLURM_NNODES": "2"}
    assert find_world(few) == World(1, 4, 1, 2, "tcp://127.0.0.1:20000")


def test_what_cannot_be_understood_is_named():
    with pytest.raises(ValueError, match="LOCAL_WORLD_SIZE is not"):
        find_world({k: v for k, v in TORCHRUN.items() if k != "LOCAL_WORLD_SIZE"})
    with pytest.raises(ValueError, match="RANK is 'x'"):
        find_world({**TORCHRUN, "RANK": "x"})
    with pytest.raises(ValueError, match=r"SLURM_STEP_TASKS_PER_NODE is '3,2'"):
        find_world({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "3,2"})


def test_processes_that_are_started_here_follow_those_of_the_machines_before():
    options = Namespace(num_gpus=2, num_machines=3, machine_rank=1)
    found = _worlds(options, "tcp://a:1")
    assert found == [World(2, 6, 0, 2, "tcp://a:1"), World(3, 6, 1, 2, "tcp://a:1")]
