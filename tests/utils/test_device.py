import ctypes
import logging
import os
import platform
import subprocess
import sys

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.utils import comm

from detr_d2.utils import device
from detr_d2.utils.device import use_available_device

# Writes a block of 64 MiB ten times; the kernel hands out each page once, or ten times.
COUNT_FAULTS = """
import resource, sys
from detr_d2.utils.device import keep_freed_memory
assert keep_freed_memory() is (sys.argv[1] == "keep")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    block = bytearray(b"1") * 2**26
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture
def gpus(monkeypatch):
    """Let torch see this many GPUs."""

    def see(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return see


def device_after(by_config, asked=None):
    cfg = get_cfg()
    cfg.MODEL.DEVICE = by_config
    use_available_device(cfg, asked)
    return cfg.MODEL.DEVICE


def test_gpu_of_the_config_that_is_not_there_becomes_the_cpu_with_one_line(gpus, caplog):
    gpus(0)
    with caplog.at_level(logging.WARNING, "detr_d2"):
        assert device_after("cuda") == "cpu"
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert "MODEL.DEVICE is cuda" in record.getMessage() and "no GPU" in record.getMessage()


def test_one_of_several_processes_says_it(gpus, caplog, monkeypatch):
    gpus(0)
    monkeypatch.setattr(comm, "get_rank", lambda: 1)
    with caplog.at_level(logging.WARNING, "detr_d2"):
        assert device_after("cuda") == "cpu"
    assert caplog.records == []


@pytest.mark.parametrize(
    ("count", "by_config", "asked", "used"),
    [
        (0, "cpu", None, "cpu"),
        (1, "cuda", None, "cuda"),
        (1, "cuda:1", None, "cpu"),
        (2, "cuda:1", None, "cuda:1"),
        (0, "cuda", "cpu", "cpu"),
        (2, "cpu", "cuda:1", "cuda:1"),
    ],
)
def test_device_that_is_used(gpus, count, by_config, asked, used):
    gpus(count)
    assert device_after(by_config, asked) == used


def test_device_that_the_user_named_is_never_exchanged(gpus):
    gpus(0)
    with pytest.raises(ValueError, match=r"MODEL.DEVICE cuda was asked for, but .* no GPU"):
        device_after("cpu", "cuda")
    gpus(1)
    with pytest.raises(ValueError, match="sees 1 GPU;"):
        device_after("cpu", "cuda:1")


def test_device_that_torch_does_not_know_is_named(gpus):
    with pytest.raises(ValueError, match=r"MODEL.DEVICE 'gpu'"):
        device_after("gpu")


def page_faults(name, environment):
    command = [sys.executable, "-c", COUNT_FAULTS, name]
    return int(subprocess.check_output(command, env=environment, text=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again_unless_the_user_has_decided():
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    kept = page_faults("keep", environment)
    given_back = page_faults("leave", environment | {"MALLOC_MMAP_THRESHOLD_": "131072"})
    assert kept * 4 < given_back


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    assert device.keep_freed_memory() is False


@pytest.mark.parametrize(("asked", "calls"), [("cpu", 1), ("meta", 0)])
def test_a_model_on_the_cpu_keeps_freed_memory(monkeypatch, asked, calls):
    seen = []
    monkeypatch.setattr(device, "keep_freed_memory", lambda: seen.append(True))
    device.use_available_device(get_cfg(), asked=asked)
    assert len(seen) == calls


def test_several_gpus_are_counted(gpus):
    gpus(2)
    with pytest.raises(ValueError, match=r"cuda:2 was asked for, but .* sees 2 GPUs;"):
        device_after("cpu", "cuda:2")
    assert device_after("cuda:2") == "cpu"


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "MY_MALLOC_"])
def test_the_two_thresholds_are_set_unless_the_environment_has_its_own(monkeypatch, name):
    """-1 and -3 are M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h."""
    calls = []

    class Library:
        def mallopt(self, parameter, value):
            calls.append((parameter, value))
            return 1

    for known in [known for known in os.environ if known.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(known)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    monkeypatch.setenv(name, "1")
    assert device.keep_freed_memory() is (name == "MY_MALLOC_")
    assert calls == ([(-1, 2**31 - 1), (-3, 2**31 - 1)] if name == "MY_MALLOC_" else [])
