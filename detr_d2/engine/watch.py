"""Processes of a job that watch each other, so that none waits for one that has died."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from torch.distributed.distributed_c10d import Store

logger = logging.getLogger(__name__)


class Watch:
    """Tells the other processes that this one lives, and learns which of them does not.

    A thread counts up in a store that all share. A process is lost when it has reported a failure,
    or when its count has stood still for `patience` seconds: it was killed, or its machine is gone.

    Args:
        store: shared, and used by nobody else in this process.
        rank, size: of this process.
        on_loss: called once, in the thread, with a sentence that names the lost process.
        interval: seconds between two counts.
        patience: seconds of silence after which a process counts as lost.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        size: int,
        on_loss: Callable[[str], None],
        *,
        interval: float = 2.0,
        patience: float = 30.0,
    ) -> None:
        self._store = store
        self._rank = rank
        self._size = size
        self._on_loss = on_loss
        self._interval = interval
        self._patience = patience
        self._lost = ""
        self._stopped = threading.Event()
        self._found = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")

    def start(self) -> None:
        """Begin; all processes must have reached this point before a long wait."""
        with self._lock:
            self._store.set(f"host/{self._rank}", socket.gethostname())
        self._thread.start()

    def fail(self, reason: str) -> None:
        """Tell the others why this process ends."""
        self._stopped.set()
        # The store may have gone with another process.
        with self._lock, suppress(RuntimeError):
            self._store.set(f"failed/{self._rank}", reason)

    def finish(self) -> None:
        """Tell the others that this process ends well; the first one waits for them all."""
        self._stopped.set()
        with self._lock, suppress(RuntimeError):
            self._store.set(f"done/{self._rank}", "")
            if self._rank == 0:
                # It holds the store.
                everybody = [f"done/{rank}" for rank in range(self._size)]
                self._store.wait(everybody, timedelta(seconds=self._patience))

    def lost(self, wait: float) -> str:
        """The sentence about the process that was lost; empty if none was in `wait` seconds."""
        self._found.wait(wait)
        return self._lost

    def _run(self) -> None:
        counts: dict[int, tuple[int, float]] = {}
        while not self._stopped.wait(self._interval):
            try:
                with self._lock:
                    self._lost = self._look(counts)
            except RuntimeError as error:
                # The store went with the process that held it.
                self._lost = f"the first process (rank 0) is lost: {str(error).splitlines()[0]}"
            if self._lost and not self._stopped.is_set():
                self._found.set()
                logger.error("%s; process %d ends", self._lost, self._rank)
                self._on_loss(self._lost)
                return

    def _look(self, counts: dict[int, tuple[int, float]]) -> str:
        self._store.add(f"count/{self._rank}", 1)
        now = time.monotonic()
        for rank in range(self._size):
            if rank == self._rank or self._store.check([f"done/{rank}"]):
                continue
            if self._store.check([f"failed/{rank}"]):
                reason = self._store.get(f"failed/{rank}").decode()
                return f"{self._name(rank)} has failed: {reason}"
            count = self._store.add(f"count/{rank}", 0)
            last, since = counts.get(rank, (-1, now))
            if count != last:
                counts[rank] = (count, now)
            elif now - since > self._patience:
                return f"{self._name(rank)} is lost: no sign of it for {self._patience:.0f} s"
        return ""

    def _name(self, rank: int) -> str:
        key = f"host/{rank}"
        host = self._store.get(key).decode() if self._store.check([key]) else "an unknown machine"
        return f"process {rank} of {self._size} on {host}"
