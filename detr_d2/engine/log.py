"""The log of a training, which a resumed training continues as if it had never stopped."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.engine import hooks
from detectron2.utils.events import EventWriter, JSONWriter

# Latest values of each scalar that a checkpoint keeps: as many as the writers smooth over.
WINDOW = 20


class MetricsFile(JSONWriter):
    """Detectron2's metrics.json, from which a resumed training removes what it will do again."""

    _last_write: int

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def continue_from(self, start_iter: int) -> None:
        """Remove the lines from `start_iter` on, and a last one that a kill has cut short."""
        kept = 0
        with open(self.path, "rb") as file:
            for line in file:
                iteration = _iteration_of(line)
                if iteration is None or iteration >= start_iter:
                    break
                kept += len(line)
                self._last_write = max(self._last_write, iteration)
        os.truncate(self.path, kept)

    def has(self, iteration: int) -> bool:
        """Whether a line of this iteration was written, or of a later one."""
        return self._last_write >= iteration


def _iteration_of(line: bytes) -> int | None:
    try:
        return int(json.loads(line)["iteration"]) if line.endswith(b"\n") else None
    except (ValueError, KeyError):
        return None


class LogHook(hooks.PeriodicWriter):
    """Detectron2's writers; the values that they smooth over are kept in the checkpoints.

    Args:
        writers: none in processes that write no log.
        period: write after each `period` iterations and at the end.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int = WINDOW) -> None:
        super().__init__(list(writers), period)
        self._values: Mapping[str, Any] = {}

    def before_train(self) -> None:
        """After a resume: put the values of the checkpoint back, and shorten metrics.json."""
        for name, (smooth, values) in self._values.items():
            for value, iteration in values:
                self.trainer.storage.put_scalar(
                    name, value, smoothing_hint=smooth, cur_iter=iteration
                )
        if self.trainer.start_iter > 0:
            for file in self._files():
                file.continue_from(self.trainer.start_iter)

    def after_train(self) -> None:
        """Write what is left, unless the training ended early: then the resumed one writes it."""
        for writer in self._writers:
            if self.trainer.iter >= self.trainer.max_iter:
                writer.write()
            writer.close()

    def has(self, iteration: int) -> bool:
        """Whether metrics.json has this iteration."""
        return any(file.has(iteration) for file in self._files())

    def _files(self) -> list[MetricsFile]:
        return [writer for writer in self._writers if isinstance(writer, MetricsFile)]

    def state_dict(self) -> dict[str, Any]:
        """Whether to smooth, and the latest (value, iteration), of each scalar."""
        storage = self.trainer.storage
        hints = storage.smoothing_hints()
        return {
            name: (hints[name], history.values()[-WINDOW:])
            for name, history in storage.histories().items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Keep the values until there is a storage for them."""
        self._values = state_dict
