"""The annotation of one image as a format reads it, before any rule is applied."""

from collections.abc import Hashable
from dataclasses import dataclass, field

import cv2
import numpy as np
from pycocotools import mask as coco_mask

# The class key of regions that are declared as void.
VOID = "__void__"
# Why an annotation is lost.
WITHOUT_PIXELS, HIDDEN, TOO_SMALL = "without pixels", "hidden by others", "smaller than min_area"


class Region:
    """One annotated region: a mask (h, w) bool whose first pixel is at (row, column) `top_left`.

    `key` is its class or VOID. Regions with the same class and the same `group` are one segment.
    The mask is held run-length coded: some hundred regions of a large image, which all wait until
    their order is known, would take gigabytes.
    """

    def __init__(
        self,
        key: Hashable,
        mask: np.ndarray,
        top_left: tuple[int, int] = (0, 0),
        group: Hashable = None,
        crowd: bool = False,
    ) -> None:
        self.key, self.top_left, self.group, self.crowd = key, top_left, group, crowd
        self._code = coco_mask.encode(_by_columns(mask).view(np.uint8))

    @property
    def area(self) -> int:
        """The number of its pixels."""
        return int(coco_mask.area(self._code))

    @property
    def mask(self) -> np.ndarray:
        """Its mask (h, w) bool, decoded."""
        # Row by row in memory, as what is filled with it: else that takes ten times as long.
        return cv2.transpose(coco_mask.decode(self._code).T).view(bool)

    def fill(self, array: np.ndarray, value: int) -> None:
        """Give its pixels of an array (H, W) a value."""
        mask = self.mask
        (top, left), (height, width) = self.top_left, mask.shape
        array[top : top + height, left : left + width][mask] = value


def _by_columns(mask: np.ndarray) -> np.ndarray:
    """A mask (h, w) bool that lies column by column in memory, as pycocotools needs it."""
    if mask.strides[0] <= mask.strides[1]:
        return np.asfortranarray(mask)
    # A tenth of numpy's time.
    return cv2.transpose(np.ascontiguousarray(mask).view(np.uint8)).T.view(bool)


@dataclass
class ImageAnnotation:
    """The annotation of one image of `size` (H, W).

    `class_map` (H, W): index of the class in the format's list + 1, 0 = unlabelled, -1 = void.
    `instance_map` (H, W): numbers of instances, 0 = none, -1 = void; `instance_classes` gives
    (class key, crowd) for each number. `regions` may overlap. `lost` has reason and class key of
    every annotation that gave no region; `bad` says what was wrong with those that were skipped.
    """

    size: tuple[int, int]
    class_map: np.ndarray | None = None
    instance_map: np.ndarray | None = None
    instance_classes: dict[int, tuple[Hashable, bool]] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)
    lost: list[tuple[str, Hashable]] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    def add_region(
        self, mask: np.ndarray, key: Hashable, crowd: bool = False, group: Hashable = None
    ) -> None:
        """Add a mask (H, W) bool, cropped to its smallest window; an empty one is lost."""
        # Masks that pycocotools has drawn lie column by column in memory: OpenCV would copy them.
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            self.lost.append((WITHOUT_PIXELS, key))
            return
        top, left = int(rows[0]), int(columns[0])
        cropped = mask[top : rows[-1] + 1, left : columns[-1] + 1]
        self.regions.append(Region(key, cropped, (top, left), group, crowd))
