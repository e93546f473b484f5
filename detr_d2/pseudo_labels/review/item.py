"""What a review shows of one image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ReviewItem:
    """One image with automatic labels to look at.

    Args:
        name: the image's name as people know it; may contain folders.
        custom: panoptic record of the custom masks: `file_name`, `pan_seg_file_name` and
            `segments_info` with contiguous ids, which may be empty.
        labels: the same of the result. Each segment has a `provenance` besides: `source`
            ("custom" or "model"), `classes` (names that the model gave), `score` (0..1 or None)
            and `filled` (pixels that were given by neighbours).
        score: the worst score of the image, 0..1.
        void_share: share of the image that has no label, 0..1.
    """

    name: str
    custom: Mapping[str, Any]
    labels: Mapping[str, Any]
    score: float
    void_share: float

    def __post_init__(self) -> None:
        for field in ("score", "void_share"):
            value = getattr(self, field)
            # NaN is refused too: it has no place in an order.
            if not 0 <= value <= 1:
                raise ValueError(f"{self.name}: {field} {value}, allowed: 0..1")

    @property
    def shown_name(self) -> str:
        """The name on one line; what cannot be written as UTF-8 is a question mark."""
        return " ".join(self.name.encode("utf-8", "replace").decode("utf-8").split())

    @property
    def masks(self) -> list[Mapping[str, Any]]:
        """The segments of the custom masks."""
        return list(self.custom["segments_info"])

    @property
    def segments(self) -> list[Mapping[str, Any]]:
        """The segments of the result."""
        return list(self.labels["segments_info"])

    @property
    def void_text(self) -> str:
        """How much of the image has no label, in words."""
        if not self.void_share:
            return "no void"
        if self.void_share < 0.001:
            return "void < 0.1 %"
        return f"void {100 * self.void_share:.1f} %"
