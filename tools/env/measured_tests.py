"""Run tests of a copy of the code, and find which of them execute which lines. See mutants.py."""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Measured:
    """What the tests do without a change.

    Attributes:
        lines: of each file of the package, the test files that execute each line.
        seconds: that each test file takes.
    """

    lines: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    def related(self, path: str, first: int, last: int) -> list[str]:
        """Test files that execute one of these lines, in the order in which to try them.

        What runs at import belongs to all tests that execute something of the file. What no test
        executes may run in processes that tests start, so that all of them are tried.
        """
        lines = self.lines.get(path, {})
        executed = [lines[line] for line in range(first, last + 1) if line in lines]
        found = {test for tests in executed for test in tests}
        if executed and not found:
            found = {test for tests in lines.values() for test in tests}
        found = found or set(self.seconds)
        name = f"test_{Path(path).stem}"
        return sorted(found, key=lambda test: (Path(test).stem != name, self.seconds[test]))


def run_tests(arguments: list[str], seconds: float, plugin: object = None) -> int | None:
    """Run pytest on the copy, which is the working directory, in a process of its own.

    It is forked, so that torch and detectron2 are not imported anew each time.

    Returns:
        Its exit status; None when it took longer.
    """
    process = multiprocessing.get_context("fork").Process(
        target=_pytest, args=([*arguments, "-q", "-x"], plugin)
    )
    process.start()
    process.join(seconds)
    # Also what the tests have started and left.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    late = process.exitcode is None
    process.join()
    return None if late else process.exitcode


def _pytest(arguments: list[str], plugin: object) -> None:
    import pytest

    os.setsid()
    output = os.open("pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(output, number)
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.getcwd())
    os.environ |= {"PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"}
    status = pytest.main(arguments, plugins=[plugin] if plugin else [])
    if isinstance(plugin, Recorder):
        plugin.write()
    os._exit(status)


class Recorder:
    """A plugin of pytest: writes what `Measured` holds into measured.json."""

    def __init__(self) -> None:
        import coverage

        self.coverage = coverage.Coverage(data_file=None, source=["detr_d2"], config_file=False)
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_sessionstart(self) -> None:
        self.coverage.start()

    def pytest_runtest_logstart(self, location: tuple) -> None:
        self.start, self.name = time.monotonic(), location[0]
        self.coverage.switch_context(self.name)

    def pytest_runtest_logfinish(self) -> None:
        self.seconds[self.name] += time.monotonic() - self.start

    def write(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = {
            os.path.relpath(file): {
                line: [name for name in names if name]
                for line, names in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        Path("measured.json").write_text(json.dumps([lines, self.seconds]))


def measure(tests: list[str]) -> Measured | None:
    """Run the tests as the code is; None if they fail."""
    if run_tests(tests, 3600, Recorder()) != 0:
        return None
    lines, seconds = json.loads(Path("measured.json").read_text())
    return Measured({f: {int(n): t for n, t in of.items()} for f, of in lines.items()}, seconds)
