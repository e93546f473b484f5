"""Kill work with SIGKILL at chosen moments, in a process of its own, and look at what it left.

A moment is a call by which Python touches a file of the work's folder: opening, renaming, removing,
making a folder. So kills hit where half a file could be left, which clocks rarely do.
"""

import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import torch
from PIL import Image

# How many moments of each kind of work are tried; the suite takes a few. No piece of it may take
# longer than SECONDS.
MOMENTS = int(os.environ.get("DETR_D2_KILLS", "3"))
SECONDS = 120
TOUCHES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.copyfile"}


def start_child() -> None:
    """Use no thread pool of the parent, since threads do not survive a fork; never hang."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    sys.modules["hotcoco"] = None  # type: ignore[assignment]
    signal.alarm(SECONDS)


def run_and_kill(work: Callable[[], object], root: Path, moment: int | None) -> int:
    """Run `work` in a forked process, which kills itself when it touches `root` that often.

    Args:
        work: writes below `root`.
        moment: from 1; None lets it end.

    Returns:
        How often it touched `root`.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            start_child()
            counter = _Counter(str(root), moment)
            sys.addaudithook(counter)
            work()
            counter.moment = None
            os.write(writing, str(counter.count).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        count = pipe.read()
    _, status = os.waitpid(child, 0)
    if moment is None:
        assert status == 0, "the work failed"
        return int(count)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "it was not killed"
    return moment


class _Counter:
    def __init__(self, root: str, moment: int | None) -> None:
        self.root, self.moment, self.count = root, moment, 0

    def __call__(self, event: str, arguments: tuple) -> None:
        if event not in TOUCHES:
            return
        if any(isinstance(a, str | os.PathLike) and self.root in os.fspath(a) for a in arguments):
            self.count += 1
            if self.count == self.moment:
                os.kill(os.getpid(), signal.SIGKILL)


def moments_of(work: Callable[[], object], root: Path, seed: int) -> Iterator[int]:
    """Let the work run through once, and choose random moments of it."""
    count = run_and_kill(work, root, None)
    assert count > 1, "the work hardly touches its folder"
    yield from sorted(random.Random(seed).sample(range(1, count + 1), min(MOMENTS, count)))


def assert_no_half_file(root: Path) -> None:
    """Every file under a final name can be read by the library that its readers use."""
    for path in root.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if hidden or not path.is_file():
            continue
        if path.suffix == ".json" and path.name != "metrics.json":
            json.loads(path.read_text())
        elif path.suffix in (".png", ".jpg"):
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".pth":
            torch.load(path, weights_only=True)


def run_on_full_disk(work: Callable[[], object], most: int) -> str:
    """Run `work` in a forked process that can write no file of more than `most` bytes.

    Returns:
        Its error, as type and text; "" if there was none.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        text = ""
        try:
            start_child()
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            work()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, text.encode()[:4000])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text
