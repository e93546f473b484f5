"""The device that a config asks for, and the one that there is."""

import logging

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from detr_d2.utils.allocator import keep_freed_memory

logger = logging.getLogger(__name__)


def use_available_device(cfg: CfgNode, asked: str | None = None) -> None:
    """Set MODEL.DEVICE to a device that torch can use, and on a CPU the allocator for it.

    Args:
        cfg: its MODEL.DEVICE is changed in place: to `asked` if given; else from a GPU that is not
            there to the CPU, with one warning.
        asked: a device that the user named; it is never exchanged for another.

    Raises:
        ValueError: torch cannot use the device that was asked for.
    """
    if asked is not None:
        if not _is_there(asked):
            raise ValueError(
                f"MODEL.DEVICE {asked} was asked for, but {_seen()}; MODEL.DEVICE cpu runs here"
            )
        cfg.MODEL.DEVICE = asked
    elif not _is_there(cfg.MODEL.DEVICE):
        if comm.is_main_process():
            logger.warning(
                "MODEL.DEVICE is %s by the config, but %s: running on the CPU",
                cfg.MODEL.DEVICE,
                _seen(),
            )
        cfg.MODEL.DEVICE = "cpu"
    if cfg.MODEL.DEVICE == "cpu":
        keep_freed_memory()


def _is_there(name: str) -> bool:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"MODEL.DEVICE {name!r}: {str(error).splitlines()[0]}") from None
    if device.type != "cuda":
        return True
    return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()


def _seen() -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"torch {torch.__version__} sees {count or 'no'} GPU{'s' if count > 1 else ''}"
