"""Measure automatic labels where the full ground truth is known.

Legend: H, W size of an image. All maps are of class names, so that the two sides may number their
classes differently.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import cv2
import numpy as np

BAND = 10


@dataclass
class LabelQuality:
    """Counts over images, and the figures that follow from them.

    The custom masks are given, so only pixels outside them count.

    Args:
        names: the classes, in the order of the maps' values; value 0 is void, n is names[n - 1].
        things: the names that are things.
        stuff: the names that are stuff of the ground truth; the accuracy is of their pixels.
        band: pixels; how far around a custom mask leaks are looked for.
    """

    names: tuple[str, ...]
    things: frozenset[str]
    band: int = BAND
    pixels: np.ndarray = field(init=False)
    counts: Counter[str] = field(init=False, default_factory=Counter)

    def __post_init__(self) -> None:
        size = len(self.names) + 1
        # Rows are the ground truth, columns the labels.
        self.pixels = np.zeros((size, size), np.int64)
        self._is_thing = np.array([False, *(name in self.things for name in self.names)])

    def add(self, ground_truth: np.ndarray, labels: np.ndarray, custom: np.ndarray) -> None:
        """Count one image.

        Args:
            ground_truth, labels: (H, W) integers, the class of each pixel.
            custom: (H, W) bool, where custom masks are.
        """
        size = len(self.names) + 1
        outside = ~custom
        joint = ground_truth[outside].astype(np.int64) * size + labels[outside]
        self.pixels += np.bincount(joint, minlength=size * size).reshape(size, size)
        if not custom.any():
            return
        distance = cv2.distanceTransform(outside.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        near = outside & (distance <= self.band)
        self.counts["band"] += int(near.sum())
        self.counts["things"] += int((near & self._is_thing[labels]).sum())
        self.counts["leaked"] += int(
            (near & self._is_thing[labels] & (labels != ground_truth)).sum()
        )

    def figures(self) -> dict[str, float]:
        """Percent, but for the counts of pixels.

        `stuff_accuracy`: of the ground truth's stuff, the part with their class (void is wrong);
        `mIoU`: mean over the ground truth's classes outside the custom masks; `IoU of NAME`;
        `leaked`: of the band's pixels, those labelled as a thing that is not there;
        `things in band`: of the band's pixels, those labelled as any thing;
        `void`: of all pixels outside.
        """
        stuff = ~self._is_thing
        stuff[0] = False
        correct = np.diag(self.pixels)
        ground_truth, labels = self.pixels.sum(1), self.pixels.sum(0)
        # What the ground truth leaves void is neither correct nor wrong.
        union = ground_truth + labels - self.pixels[0] - correct
        present = [i for i in range(1, len(ground_truth)) if ground_truth[i]]
        ious = {self.names[i - 1]: _percent(correct[i], union[i]) for i in present}
        known = ground_truth[1:].sum()
        return {
            "stuff_accuracy": _percent(correct[stuff].sum(), ground_truth[stuff].sum()),
            "mIoU": sum(ious.values()) / max(1, len(ious)),
            **{f"IoU of {name}": iou for name, iou in ious.items()},
            "leaked": _percent(self.counts["leaked"], self.counts["band"]),
            "things in band": _percent(self.counts["things"], self.counts["band"]),
            "void": _percent(self.pixels[1:, 0].sum(), known),
            "band_pixels": self.counts["band"],
            "leaked_pixels": self.counts["leaked"],
        }


def class_map(ids: np.ndarray, class_of: dict[int, str], names: Collection[str]) -> np.ndarray:
    """Classes (H, W) as `LabelQuality` wants them, from segment ids and their class names.

    Args:
        ids: (H, W) segment ids, 0 = void.
        class_of: the class name of each segment id; others are void.
        names: all class names, in order; a class that is not among them is void.
    """
    number = {name: place for place, name in enumerate(names, start=1)}
    result = np.zeros(ids.shape, np.int32)
    for segment, name in class_of.items():
        result[ids == segment] = number.get(name, 0)
    return result


def _percent(part: float, whole: float) -> float:
    return 100.0 * float(part) / float(whole) if whole else 0.0
