"""Panoptic quality of the images of a COCO-panoptic set."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tqdm import tqdm

from detr_d2.evaluation.pq_counts import VOID, PanopticCounts, PanopticMap, count_image
from detr_d2.ops.panoptic_ids import read_ids

MAX_THREADS = 4


class PanopticGroundTruth:
    """The ground truth of a set; its PNGs are read when they are compared with.

    Args:
        content: the COCO-panoptic JSON.
        root: folder of its PNGs.

    Raises:
        ValueError: a segment has the id 0, which is void and would be counted as both.
    """

    def __init__(self, content: Mapping[str, Any], root: str) -> None:
        self.content, self._root = content, root
        self.annotations = {a["image_id"]: a for a in content["annotations"]}
        self._categories = {category["id"] for category in content["categories"]}
        void = [
            annotation["file_name"]
            for annotation in content["annotations"]
            if any(segment["id"] == VOID for segment in annotation["segments_info"])
        ]
        if void:
            shown = f"{len(void)} PNG(s), first: {void[:5]}"
            raise ValueError(f"segment id 0 (void) is listed for {shown}")

    def count(
        self, image_id: Any, ids: np.ndarray, segments: Sequence[Mapping[str, Any]]
    ) -> PanopticCounts:
        """Compare one image with its ground truth.

        Args:
            image_id: as in the JSON.
            ids: (H, W) segment ids of the prediction.
            segments: `id` and `category_id` (the set's own) of each predicted segment.

        Raises:
            ValueError: the image is not in the JSON, or see `count_image`.
        """
        if image_id not in self.annotations:
            raise ValueError(f"image {image_id!r} was predicted, but is not in the panoptic JSON")
        annotation = self.annotations[image_id]
        true_ids = read_ids(os.path.join(self._root, annotation["file_name"]))
        ground_truth = PanopticMap(true_ids, annotation["segments_info"])
        name = f"image {image_id!r} ({annotation['file_name']})"
        return count_image(ground_truth, PanopticMap(ids, segments), self._categories, name)

    def check_complete(self, predicted: Iterable[Any]) -> None:
        """Check that each image of the set was predicted once.

        Raises:
            ValueError: an image has no prediction, or several.
        """
        times = Counter(predicted)
        missing = [image_id for image_id in self.annotations if image_id not in times]
        if missing:
            raise ValueError(f"no prediction for {len(missing)} image(s), the first: {missing[:5]}")
        twice = [image_id for image_id, n in times.items() if n > 1]
        if twice:
            raise ValueError(f"{len(twice)} image(s) predicted twice, the first: {twice[:5]}")


def panoptic_quality(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    ground_truth_root: str,
    prediction_root: str,
) -> PanopticCounts:
    """Compare two folders of PNGs, as panopticapi's `pq_compute` does.

    Args:
        ground_truth: content of the COCO-panoptic JSON.
        predictions: annotations of the same format, with the set's category ids; those of images
            that the JSON does not list are ignored.
        ground_truth_root, prediction_root: folders of the PNGs.

    Returns:
        The sums over all images.

    Raises:
        ValueError: see `PanopticGroundTruth` and `count_image`.
    """
    reference = PanopticGroundTruth(ground_truth, ground_truth_root)
    wanted = [p for p in predictions if p["image_id"] in reference.annotations]
    reference.check_complete(p["image_id"] for p in wanted)

    def count(prediction: Mapping[str, Any]) -> PanopticCounts:
        ids = read_ids(os.path.join(prediction_root, prediction["file_name"]))
        return reference.count(prediction["image_id"], ids, prediction["segments_info"])

    total = PanopticCounts()
    with ThreadPoolExecutor(count_threads()) as pool:
        parts = pool.map(count, wanted)
        for part in tqdm(parts, "panoptic quality", len(wanted), unit="image", disable=None):
            total.update(part)
    return total


def count_threads() -> int:
    """Threads to compare maps in: reading and comparing leave Python's lock alone."""
    return min(os.cpu_count() or 1, MAX_THREADS)
