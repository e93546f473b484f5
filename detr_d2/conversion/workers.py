"""Converting images in worker processes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2

from detr_d2.conversion.convert_image import Task, Work, convert_image

TASKS_A_CALL, CALLS_A_WORKER = 4, 3
_work: Work | None = None


def convert_images(work: Work, tasks: Sequence[Task], workers: int) -> Iterator[dict[str, Any]]:
    """Results of `convert_image` as they come, with a bounded number of tasks under way.

    Raises:
        OSError: a result cannot be written, or a worker process was ended by force.
    """
    if workers <= 1 or len(tasks) <= TASKS_A_CALL:
        for task in tasks:
            yield convert_image(work, task)
        return
    starts = iter(range(0, len(tasks), TASKS_A_CALL))
    with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(work,)) as pool:
        running: set[Future[list[dict[str, Any]]]] = set()
        try:
            while True:
                for start in starts:
                    running.add(pool.submit(_convert_tasks, tasks[start : start + TASKS_A_CALL]))
                    if len(running) >= workers * CALLS_A_WORKER:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        except BrokenProcessPool as error:
            raise OSError(
                "a worker process ended by force (out of memory?); what is done is kept, start "
                "again with fewer workers"
            ) from error
        finally:
            for future in running:
                future.cancel()


def _start_worker(work: Work) -> None:
    """Remember the work, once in every worker process."""
    global _work
    _work = work
    cv2.setNumThreads(0)


def _convert_tasks(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """`convert_image` for several images in a worker process."""
    assert _work is not None
    return [convert_image(_work, task) for task in tasks]
