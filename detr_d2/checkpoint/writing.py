"""Our weights in the layout of the original DETR, and what all layouts of others share."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from detr_d2.checkpoint import tensor_names
from detr_d2.checkpoint.checkpointer import write_torch_file
from detr_d2.checkpoint.layouts import Weights
from detr_d2.checkpoint.reading import WeightsError
from detr_d2.checkpoint.tensor_names import Table

MASK_HEAD = ("bbox_attention.", "mask_head.")
# Counters of batch norm, and the queries of Group DETR that only training uses.
NOT_WRITTEN = re.compile(r".*num_batches_tracked|extra_queries\..*")


def ours_content(weights: Weights) -> dict[str, Any]:
    """Return what our own file of these weights holds, for `torch.save`. Rows keep their order."""
    content: dict[str, Any] = {"model": weights.tensors}
    return content | ({"classes": list(weights.classes)} if weights.classes else {})


def write_original(path: str, weights: Weights) -> None:
    """Write a checkpoint of the original DETR, boxes or panoptic.

    The rows of the classifier keep their order. Their names, which the original does not know,
    are kept under "classes".

    Raises:
        WeightsError: a tensor has no place there.
        OSError: the file cannot be written.
    """
    table = Table([*tensor_names.ORIGINAL, *tensor_names.MASK_HEAD])
    prefix = "detr." if has_masks(weights) else ""
    state = renamed(weights.tensors, table, prefix)
    content = ours_content(weights) | {"model": state}
    write_torch_file(path, content)


def has_masks(weights: Weights) -> bool:
    """Whether there is a mask head."""
    return any(name.startswith(MASK_HEAD) for name in weights.tensors)


def written(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that other programs have a place for."""
    return {name: t for name, t in tensors.items() if not NOT_WRITTEN.fullmatch(name)}


def renamed(tensors: Mapping[str, Tensor], table: Table, prefix: str) -> dict[str, Tensor]:
    """Give tensors the names of another layout, with a prefix before all but the mask head's.

    Raises:
        WeightsError: a tensor has no name there.
    """
    state, lost = {}, []
    for name, tensor in written(tensors).items():
        theirs = table.theirs(name)
        if theirs is None:
            lost.append(name)
        else:
            state[theirs if name.startswith(MASK_HEAD) else prefix + theirs] = tensor
    if lost:
        raise WeightsError(f"no name in that layout for {', '.join(lost[:5])}")
    return state
