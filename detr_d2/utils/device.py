"""The device that a config asks for, the one that there is, and the memory of a CPU."""

import ctypes
import logging
import os

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

logger = logging.getLogger(__name__)

# Names of glibc's `mallopt`, see mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def use_available_device(cfg: CfgNode, asked: str | None = None) -> None:
    """Set MODEL.DEVICE to a device that torch can use, and on a CPU keep freed memory.

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


def keep_freed_memory() -> bool:
    """Let the process keep large blocks that were freed, to use them for the next tensors.

    By default glibc asks the kernel for every block above 32 MiB and gives it back when it is
    freed; the kernel hands out zeros, page by page. The features and masks of one image are many
    such blocks: with them kept, a training step at 800x1066 takes about a tenth less time. Peak
    memory stays about the same, but what the process has had at its peak it keeps.

    Nothing is changed where the C library is another one, or where MALLOC_* or GLIBC_TUNABLES in
    the environment say that the user has decided.

    Returns:
        Whether it was changed.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        logger.debug("the C library has no mallopt: freed memory goes back to the system")
        return False
    return all(mallopt(name, LARGEST) for name in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))
