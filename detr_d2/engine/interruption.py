"""SIGTERM and Ctrl-C end a training after the step, with a checkpoint to go on from."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm

from detr_d2.checkpoint.checkpointer import Checkpointer

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A terminal and a launcher send the same signal twice; a later one means "at once".
SECONDS_OF_ONE_SIGNAL = 5.0


class InterruptionHook(HookBase):
    """Finishes the step after a signal, writes a checkpoint, and ends with 128 + its number.

    All processes end after the same step, whichever of them got the signal. A second signal ends
    at once. Register it after the hooks that write checkpoints.

    Args:
        checkpointer: writes in the main process.
        device: of the flag that the processes exchange.
    """

    def __init__(self, checkpointer: Checkpointer, device: torch.device) -> None:
        self.checkpointer = checkpointer
        self.device = device
        self.stopped = False
        self._signal = 0
        self._received_at = 0.0
        self._between_steps = False
        self._previous: dict[int, Any] = {}

    def before_train(self) -> None:
        """Take the signals over, where Python allows it: in the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def after_train(self) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def after_step(self) -> None:
        """End here if any process has got a signal."""
        number = self._signal
        if comm.get_world_size() > 1:
            flag = torch.tensor([number], device=self.device)
            torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
            number = int(flag)
        if number:
            self._save(number)
            # A process that ends before the main one has written may be taken for a failure.
            comm.synchronize()
            raise SystemExit(128 + number)

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Long work during which a signal need not wait for a step to be finished."""
        self._between_steps = True
        try:
            yield
        finally:
            self._between_steps = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # No log entry here: the signal may have come while one is being written.
        now = time.monotonic()
        if self._signal:
            if now - self._received_at > SECONDS_OF_ONE_SIGNAL:
                raise SystemExit(128 + number)
            return
        self._signal, self._received_at = number, now
        if self._between_steps:
            self._save(number)
            raise SystemExit(128 + number)

    def _save(self, number: int) -> None:
        self.stopped = True
        iteration = self.trainer.iter
        if not comm.is_main_process():
            return
        name = f"model_{iteration:07d}"
        if not self.checkpointer.get_checkpoint_file().endswith(f"{name}.pth"):
            self.checkpointer.save(name, iteration=iteration)
        logger.warning(
            "%s: stopped after %d of %d iterations, which are saved in %s; the same command "
            "with --resume goes on from there",
            signal.Signals(number).name,
            iteration + 1,
            self.trainer.max_iter,
            self.checkpointer.save_dir,
        )


class EvaluationHook(hooks.EvalHook):
    """Detectron2's `EvalHook`, which a signal ends at once.

    Args:
        period, evaluate: as Detectron2 has them.
        interruption: what signals do.
    """

    def __init__(self, period: int, evaluate: Any, interruption: InterruptionHook) -> None:
        super().__init__(period, evaluate)
        self._interruption = interruption

    def _do_eval(self) -> None:
        with self._interruption.between_steps():
            super()._do_eval()

    def after_train(self) -> None:
        """Evaluate at the end, but not after an interruption."""
        if not self._interruption.stopped:
            super().after_train()
