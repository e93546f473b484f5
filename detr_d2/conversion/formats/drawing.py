"""What an annotation format knows of one image, before any rule is applied."""

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

VOID = "__void__"


@dataclass
class Layer:
    """One painted region: `mask` (h, w) bool with its upper left pixel at `corner` (row, column).

    `key` is its class or VOID. Layers with the same class and the same `group` are one segment.
    """

    key: Hashable
    mask: np.ndarray
    corner: tuple[int, int] = (0, 0)
    group: Hashable = None
    crowd: bool = False


@dataclass
class Drawing:
    """All that an annotation format knows of one image, of `size` (H, W).

    `labels` (H, W): index of the class in the format's list + 1, 0 = unlabelled, -1 = void.
    `instances` (H, W): numbers of instances, 0 = none, -1 = void; `instance_classes` gives (class
    key, crowd) for each number.
    """

    size: tuple[int, int]
    labels: np.ndarray | None = None
    instances: np.ndarray | None = None
    instance_classes: dict[int, tuple[Hashable, bool]] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)


def cut_out(
    mask: np.ndarray, key: Hashable, crowd: bool = False, group: Hashable = None
) -> Layer | None:
    """A layer of the smallest window around a mask (H, W) bool; None when the mask is empty."""
    # Masks that pycocotools has drawn lie column by column in memory: OpenCV would copy them.
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    piece = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    return Layer(key, piece, (top, left), group, crowd)
