"""Compare the `segments_info` of an image with the pixels of its id map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from detr_d2.ops.panoptic_ids import compact


@dataclass(frozen=True)
class SegmentFault:
    """A disagreement between `segments_info` and the pixels: `listed` against `measured`.

    `kind` is "id not in the JSON", "id not in the PNG", "wrong area" or "wrong box".
    """

    kind: str
    segment_id: Any
    listed: Any
    measured: Any

    def __str__(self) -> str:
        return (
            f"segment {self.segment_id}: {self.kind} "
            f"(JSON {self.listed or 'none'}, PNG {self.measured or 'none'})"
        )


def compare_segments(
    id_map: np.ndarray, segments: Sequence[Mapping[str, Any]], boxes: bool = True
) -> list[SegmentFault]:
    """Compare the listed segments of one image with its pixels.

    Args:
        id_map: (H, W) integers; 0 is void.
        segments: entries of `segments_info`.
        boxes: compare `bbox` too, where it is given.
    """
    present, positions = compact(id_map)
    areas = np.bincount(positions.ravel(), minlength=len(present)).tolist()
    where = {number: position for position, number in enumerate(present)}
    listed = {segment.get("id") for segment in segments}
    faults = [
        SegmentFault("id not in the JSON", number, None, f"{areas[where[number]]} pixels")
        for number in present
        if number != 0 and number not in listed
    ]
    for segment in segments:
        number, area, box = segment.get("id"), segment.get("area"), segment.get("bbox")
        if number not in where:
            faults.append(SegmentFault("id not in the PNG", number, f"{area} pixels", None))
            continue
        if area != areas[where[number]]:
            faults.append(SegmentFault("wrong area", number, area, areas[where[number]]))
        if boxes and box is not None:
            found = list(cv2.boundingRect((positions == where[number]).view(np.uint8)))
            if list(box) != found:
                faults.append(SegmentFault("wrong box", number, box, found))
    return faults
