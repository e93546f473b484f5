"""Binary masks of some classes of the embedded building-site data set, one file an instance.

It is what somebody has who annotated only these classes.
"""

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import cv2
import numpy as np

from detr_d2.utils.files import replacing

# Written by `write_masks`, by no one else.
NAME = re.compile(r"\d{6}_[a-z]+_\d+\.png")


def write_masks(
    folder: str | os.PathLike[str],
    stem: str,
    id_map: np.ndarray,
    names: Mapping[int, str],
    wanted: Collection[str],
) -> None:
    """Write `{stem}_{class}_{n}.png` for every instance of the wanted classes, n from 1.

    Args:
        folder: where to; made if needed.
        stem: the image's name without extension.
        id_map: (H, W) integers; the masks are (H, W) uint8, 255 inside and 0 outside.
        names: class of every segment id, in the order in which instances are numbered.
        wanted: the classes to write.
    """
    counts: Counter[str] = Counter()
    for segment_id, name in names.items():
        if name in wanted:
            counts[name] += 1
            mask = (id_map == segment_id).astype(np.uint8) * 255
            with replacing(Path(folder) / f"{stem}_{name}_{counts[name]}.png") as temporary:
                cv2.imwrite(temporary, mask)


def remove_masks(folder: str | os.PathLike[str]) -> None:
    """Remove the masks that an earlier run wrote, and the folder if nothing else is in it."""
    folder = Path(folder)
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if NAME.fullmatch(path.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
