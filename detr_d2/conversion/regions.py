"""Connected regions of a mask."""

import cv2
import numpy as np


def split_regions(
    mask: np.ndarray, min_area: int = 0, closing: int = 0
) -> list[tuple[int, int, np.ndarray]]:
    """Split a mask (H, W) bool into its connected regions, 8 neighbours.

    Closing only decides what belongs together: it adds no pixel.

    Returns:
        (row, column, (h, w) bool) of every region of `min_area` pixels or more.
    """
    grown = mask.astype(np.uint8)
    if closing:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (closing + 1, closing + 1))
        border = closing + 1
        grown = np.pad(grown, border)
        grown = cv2.morphologyEx(grown, cv2.MORPH_CLOSE, disc)
        # Closing with an even disc may lose a pixel at the edge: what was there stays.
        grown = grown[border:-border, border:-border] | mask.astype(np.uint8)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(grown, connectivity=8)
    regions = []
    for number in range(1, len(stats)):
        left, top, width, height = (int(v) for v in stats[number, :4])
        window = (slice(top, top + height), slice(left, left + width))
        piece = (numbers[window] == number) & mask[window]
        if piece.sum() >= max(min_area, 1):
            regions.append((top, left, piece))
    return regions
