"""The scene that other programs have written into `tests/foreign_sets`, as masks."""

import numpy as np

# Two images of different size, height and width.
SIZES = {"site a_1": (24, 36), "b": (20, 16)}
LABELS = ("wheel loader", "crane", "soil")


def masks(name: str) -> list[tuple[str, np.ndarray]]:
    """Label and mask (H, W) bool of the objects of an image; they do not overlap."""
    height, width = SIZES[name]
    rows, columns = np.mgrid[:height, :width]
    soil = rows >= height - 5
    ring = (rows - 6) ** 2 + (columns - 7) ** 2
    # A ring with a hole, and an object of two pieces, one of which is a single pixel.
    loader = (ring <= 25) & (ring > 4)
    crane = (columns >= 13) & (columns < 15) & (rows >= 2) & (rows < height - 6)
    crane[0, width - 1] = True
    found = [("wheel loader", loader), ("crane", crane), ("soil", soil)]
    if name == "b":
        other = (columns < 3) & (rows >= 12) & (rows < 14)
        found.append(("wheel loader", other))
    return found
