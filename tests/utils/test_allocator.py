import ctypes
import os
import platform
import subprocess
import sys

import pytest
from detectron2.config import get_cfg

from detr_d2.utils import allocator, device

# Writes a block of 64 MiB ten times; the kernel hands out each page once, or ten times.
COUNT_FAULTS = """
import resource, sys
from detr_d2.utils.allocator import keep_freed_memory
assert keep_freed_memory() is (sys.argv[1] == "keep")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    block = bytearray(b"1") * 2**26
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


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
    assert allocator.keep_freed_memory() is False


@pytest.mark.parametrize(("asked", "calls"), [("cpu", 1), ("meta", 0)])
def test_a_model_on_the_cpu_keeps_freed_memory(monkeypatch, asked, calls):
    seen = []
    monkeypatch.setattr(device, "keep_freed_memory", lambda: seen.append(True))
    device.use_available_device(get_cfg(), asked=asked)
    assert len(seen) == calls
