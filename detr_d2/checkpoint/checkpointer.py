"""Checkpoints that are whole or absent, and that hold data only; weights of every layout load."""

import logging
import os
import shutil
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from torch import nn

from detr_d2.checkpoint import LoadingRules, WeightsError, load_weights, open_weights
from detr_d2.utils.files import replacing, write_text

logger = logging.getLogger(__name__)


def save_weights(path: str, content: dict[str, Any]) -> None:
    """Write a torch file atomically; a job killed meanwhile leaves the older file.

    Args:
        path: the file.
        content: its `model`, if any, is a dictionary of tensors.

    Raises:
        FloatingPointError: weights that are not finite, which nothing can be done with.
        OSError: the disk is full or cannot be written; the older file stays.
    """
    state = content.get("model", {})
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise FloatingPointError(
            f"{path} is not written: {len(broken)} of {len(state)} weights are not finite, such as "
            f"{', '.join(broken[:3])}. The checkpoint before this one is as it was"
        )
    write_torch_file(path, content)


def write_torch_file(path: str, content: dict[str, Any]) -> None:
    """Write any content as `torch.save` does, atomically.

    Raises:
        OSError: the disk is full or cannot be written; the older file stays.
    """
    try:
        with replacing(path) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:
        raise OSError(f"{path} is not written{_room_left(path)}: {_first_line(error)}") from None


def _room_left(path: str) -> str:
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return ""
    free = shutil.disk_usage(folder).free / 2**20
    return f" ({free:.0f} MB are free there; an older file of this name is as it was)"


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def model_content(model: nn.Module, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """Collect what every weight file of ours holds: the weights, and the names of their classes.

    Args:
        model: gives the names, and the weights unless `state` does.
    """
    classes = list(getattr(model, "class_names", ()))
    content: dict[str, Any] = {"model": model.state_dict() if state is None else state}
    return content | ({"classes": classes} if classes else {})


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer that writes atomically and reads without running code.

    It loads every layout that `detr_d2.checkpoint` knows, and logs what became of each tensor.

    Args:
        model: to be filled and saved.
        save_dir: folder of the checkpoints.
        cfg: the whole config, against which colours and strides are checked; None checks nothing.
        rules: what to take of weights that a training starts from; None where none starts, and
            then the weights must be complete.
        checkpointables: as Detectron2 has them.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        cfg: CfgNode | None = None,
        rules: LoadingRules | None = None,
        **checkpointables: Any,
    ) -> None:
        super().__init__(model, save_dir, **checkpointables)
        self.cfg = cfg
        self.rules = rules
        self.logger = logger

    def save(self, name: str, **kwargs: Any) -> None:
        """Write model, states and `kwargs` to `name`.pth in the folder of this checkpointer."""
        if not self.save_dir or not self.save_to_disk:
            return
        states = {key: state.state_dict() for key, state in self.checkpointables.items()}
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        save_weights(path, {**model_content(self.model), **states, **kwargs})
        self.tag_last_checkpoint(f"{name}.pth")

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Note the newest checkpoint, for --resume."""
        write_text(os.path.join(self.save_dir, "last_checkpoint"), last_filename_basename)

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load weights of any layout, from a file, a folder or a URL.

        Args:
            path: empty loads nothing, which only a training may start from.
            checkpointables: the states to load besides; None loads all, to go on with a training,
                and then takes the weights as they are, without `rules`.

        Returns:
            What else the file holds.

        Raises:
            detr_d2.checkpoint.WeightsError: see `open_weights` and `load_weights`; or weights are
                missing, and this is not the start of a training (one with `rules`).
        """
        if not path and self.rules is None:
            raise WeightsError("MODEL.WEIGHTS is empty: give the weights to run the model with")
        if not path:
            self.logger.info("MODEL.WEIGHTS is empty: all weights are fresh")
            return {}
        weights = open_weights(path)
        rules = None if checkpointables is None else self.rules
        report = load_weights(self.model, weights, rules, self.cfg, complete=rules is None)
        self.logger.info("Weights of %s", report.table())
        wanted = self.checkpointables if checkpointables is None else checkpointables
        for key in wanted:
            if key in weights.rest:
                self.checkpointables[key].load_state_dict(weights.rest.pop(key))
        return weights.rest
