"""Findings in two images, with everything that polygons have trouble with."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from detr_d2.annotation_export import Finding
from detr_d2.data.categories import CategoryTable

# Contiguous: brick 0, pipe 1, sky 2, soil 3.
TABLE = CategoryTable(
    [
        {"id": 90, "name": "soil", "isthing": 0, "color": [130, 90, 50]},
        {"id": 7, "name": "brick", "isthing": 1, "color": [200, 60, 50]},
        {"id": 11, "name": "sky", "isthing": 0, "color": [110, 180, 230]},
        {"id": 8, "name": "pipe", "isthing": 1, "color": [60, 110, 170]},
    ]
)
# Segment id: contiguous class and score.
CLASSES = {1: (2, 0.99), 2: (3, 0.9), 3: (0, 0.95), 4: (1, 0.71234), 5: (0, 0.5), 6: (1, 0.88)}


def first_map() -> np.ndarray:
    """Sky over soil along a slope, a ring around soil, a brick in two parts, a thin pipe, void."""
    ids = np.full((120, 180), 1, np.int32)
    ids[np.add.outer(np.arange(120), -np.arange(180) // 4) > 40] = 2
    cv2.ellipse(ids, (50, 85), (26, 18), 20, 0, 360, 3, -1)
    cv2.ellipse(ids, (50, 85), (12, 8), 20, 0, 360, 2, -1)  # soil again, in the hole
    cv2.line(ids, (90, 20), (170, 60), 4, 3)
    cv2.circle(ids, (120, 90), 12, 5, -1)
    cv2.circle(ids, (155, 95), 9, 5, -1)  # the second part
    cv2.ellipse(ids, (95, 100), (14, 6), -30, 0, 360, 0, -1)  # nothing was found here
    return ids


def second_map() -> np.ndarray:
    """All soil, with a pipe that has a hole of nothing, at the edge."""
    ids = np.full((64, 40), 2, np.int32)
    ids[0:30, 10:40] = 6
    ids[8:20, 18:30] = 0
    return ids


def write_findings(folder: Path) -> list[Finding]:
    """Write a.jpg and deep/b.png below a folder; give what was found in them."""
    found = []
    for name, ids in {"a.jpg": first_map(), "deep/b.png": second_map()}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*ids.shape, 3), 99, np.uint8)).save(path)
        segments = [
            {"id": number, "category_id": category, "isthing": category < 2, "score": score}
            for number, (category, score) in CLASSES.items()
            if (ids == number).any()
        ]
        found.append(Finding(name, path, ids, segments))
    return found
