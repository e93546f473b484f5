"""Checkpoints that are whole or absent, and that hold data only."""

import os
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

from detr_d2.ops.files import replacing, write_text


def save_weights(path: str, content: dict[str, Any]) -> None:
    """Write a torch file in one stroke; a job killed meanwhile leaves the older file."""
    with replacing(path) as temporary:
        torch.save(content, temporary)


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer that writes in one stroke and reads without running code."""

    def save(self, name: str, **kwargs: Any) -> None:
        """Write model, states and `kwargs` to `name`.pth in the folder of this checkpointer."""
        if not self.save_dir or not self.save_to_disk:
            return
        states = {key: state.state_dict() for key, state in self.checkpointables.items()}
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        save_weights(path, {"model": self.model.state_dict(), **states, **kwargs})
        self.tag_last_checkpoint(f"{name}.pth")

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Note the newest checkpoint, for --resume."""
        write_text(os.path.join(self.save_dir, "last_checkpoint"), last_filename_basename)

    def _torch_load(self, f: str) -> dict[str, Any]:
        return torch.load(f, map_location="cpu", weights_only=True)
