"""A predictor without a model."""

from typing import Any

import numpy as np
import torch

from detr_d2.data.categories import CategoryTable

TABLE = CategoryTable([{"id": 1, "name": "crane", "isthing": 1}])


class Finder:
    """Finds nothing, and remembers how many images it got at a time."""

    categories = TABLE

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: list[np.ndarray]) -> list[dict[str, Any]]:
        self.batches.append(len(images))
        ids = [torch.zeros(image.shape[:2], dtype=torch.int32) for image in images]
        return [{"panoptic_seg": (one, [])} for one in ids]
