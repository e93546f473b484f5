"""Putting images into a data set's folder."""

import io
import os
import shutil
from pathlib import Path

from detr_d2.utils.files import replacing

PLACE_MODES = ("link", "copy")


def check_image_mode(mode: str) -> None:
    """Raise ValueError unless the mode is one of PLACE_MODES."""
    if mode not in PLACE_MODES:
        raise ValueError(f"images {mode!r}, allowed: {PLACE_MODES}")


def place_image(
    source: str | os.PathLike[str] | io.BytesIO, target: str | os.PathLike[str], mode: str = "link"
) -> None:
    """Put an image at `target`, atomically; what was there is replaced, folders are made.

    Args:
        source: the image's file, or its bytes.
        target: where it goes, with the image's own extension: nothing is encoded anew.
        mode: "link": a hard link where the disk allows it, else a copy; or "copy".

    Raises:
        ValueError: another mode.
        OSError: the image cannot be read or written.
    """
    check_image_mode(mode)
    with replacing(target) as temporary:
        if isinstance(source, io.BytesIO):
            Path(temporary).write_bytes(source.getvalue())
            return
        if mode == "link":
            try:
                os.link(os.path.realpath(source), temporary)
                return
            except OSError:
                # Another disk, or a file of someone else's.
                pass
        shutil.copyfile(source, temporary)
