"""Panoptic quality as one of Detectron2's evaluators, for every panoptic data set."""

import itertools
import logging
import math
import os
from collections import OrderedDict, deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from tabulate import tabulate

from detr_d2.evaluation.pq import PanopticGroundTruth, count_threads
from detr_d2.evaluation.pq_counts import PanopticCounts
from detr_d2.utils.files import read_json, write_json

logger = logging.getLogger(__name__)

GROUPS = {"All": "", "Things": "_th", "Stuff": "_st"}


class PanopticEvaluator(DatasetEvaluator):
    """Counts what Detectron2's `COCOPanopticEvaluator` counts, while the model runs.

    - No prediction is kept or written as a PNG: threads compare each with its ground truth, and
      the processes exchange sums.
    - Sets with things only or stuff only are measured; the absent group is NaN.
    - Images are told apart by `image_id`: those of the same base name do not replace each other.
    - The model's outputs stay as they are for whoever reads them next.

    Args:
        dataset_name: registered, with `panoptic_json` and `panoptic_root` in its metadata.
        output_dir: folder of `predictions.json`, the segments that were found, in the COCO-panoptic
            format and under the file names of the ground truth.
    """

    def __init__(self, dataset_name: str, output_dir: str) -> None:
        self._metadata = MetadataCatalog.get(dataset_name)
        for key in ("panoptic_json", "panoptic_root"):
            if not self._metadata.get(key):
                raise ValueError(
                    f"{dataset_name}: no {key} in its metadata, which panoptic quality needs; "
                    "register the set with detr_d2.register_dataset"
                )
        things = self._metadata.get("thing_dataset_id_to_contiguous_id", {})
        stuff = self._metadata.get("stuff_dataset_id_to_contiguous_id", {})
        self._dataset_ids = {
            True: {contiguous: id_ for id_, contiguous in things.items()},
            False: {contiguous: id_ for id_, contiguous in stuff.items()},
        }
        self._output_dir = output_dir

    def reset(self) -> None:
        """Start anew, with the ground truth as it is on disk."""
        content = read_json(self._metadata.panoptic_json)
        self._ground_truth = PanopticGroundTruth(content, self._metadata.panoptic_root)
        self._counts = PanopticCounts()
        self._found: list[dict[str, Any]] = []
        self._threads = count_threads()
        self._pool = ThreadPoolExecutor(self._threads)
        self._jobs: deque[Future[PanopticCounts]] = deque()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Begin to compare the predictions of a batch with the ground truth."""
        for image, output in zip(inputs, outputs, strict=True):
            if "panoptic_seg" not in output:
                raise ValueError(
                    f"TEST.EVALUATORS has 'panoptic', but the model gives {sorted(output)}; set "
                    "MODEL.DETR.PANOPTIC_ON True or leave 'panoptic' out"
                )
            ids, segments = output["panoptic_seg"]
            # A copy, since a thread reads it when the caller may have gone on.
            ids = np.array(ids.cpu())
            if segments is None:
                ids, segments = self._split_labels(ids)
            segments = [self._with_dataset_id(segment) for segment in segments]
            self._found.append({"image_id": image["image_id"], "segments_info": segments})
            self._jobs.append(
                self._pool.submit(self._ground_truth.count, image["image_id"], ids, segments)
            )
            # Few maps wait at any time, and an error stops the evaluation soon.
            self._collect(self._threads)

    def evaluate(self) -> dict[str, Any] | None:
        """Add up all processes; call it in each of them, the main one gets figures.

        Returns:
            {"panoptic_seg": {PQ, SQ, RQ, the same with _th and _st, and PQ-NAME of each class that
            occurs}} in percent.
        """
        self._collect(0)
        self._pool.shutdown()
        parts = comm.all_gather((self._counts, self._found))
        found = list(itertools.chain.from_iterable(part[1] for part in parts))
        self._ground_truth.check_complete(entry["image_id"] for entry in found)
        if not comm.is_main_process():
            return None
        total = PanopticCounts()
        for counts, _ in parts:
            total.update(counts)
        self._write(found)
        categories = self._ground_truth.content["categories"]
        average = total.average(categories)
        logger.info("Panoptic quality of the classes:\n%s", _class_table(total, categories))
        logger.info("Panoptic quality:\n%s", _table(average))
        figures = {
            f"{name.upper()}{suffix}": 100 * average[group][name]
            for group, suffix in GROUPS.items()
            for name in ("pq", "sq", "rq")
        }
        # Named as Detectron2 names the AP of a class.
        figures |= {
            f"PQ-{category.get('name', category['id'])}": 100 * quality["pq"]
            for category in categories
            if (quality := total.quality(category["id"]))
        }
        return OrderedDict({"panoptic_seg": figures})

    def _collect(self, most: int) -> None:
        """Add up the oldest comparisons until so many at most are under way."""
        while len(self._jobs) > most:
            self._counts.update(self._jobs.popleft().result())

    def _write(self, found: list[dict[str, Any]]) -> None:
        """Write predictions.json, in the order of the ground truth."""
        by_image = {entry["image_id"]: entry for entry in found}
        annotations = [
            {**by_image[image_id], "file_name": annotation["file_name"]}
            for image_id, annotation in self._ground_truth.annotations.items()
        ]
        content = {**self._ground_truth.content, "annotations": annotations}
        write_json(os.path.join(self._output_dir, "predictions.json"), content)

    def _split_labels(self, labels: np.ndarray) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Segments of a map of category * label_divisor + instance, -1 = void (Detectron2)."""
        divisor = self._metadata.label_divisor
        segments = [
            {
                "id": label + 1,
                "category_id": category,
                "isthing": category in self._dataset_ids[True],
            }
            for label in np.unique(labels).tolist()
            if (category := label // divisor) >= 0
        ]
        return labels + 1, segments

    def _with_dataset_id(self, segment: Mapping[str, Any]) -> dict[str, Any]:
        """Translate the category of a copy; one without `isthing` has the set's id already."""
        copy = dict(segment)
        isthing = copy.pop("isthing", None)
        if isthing is not None:
            ids, category = self._dataset_ids[bool(isthing)], copy["category_id"]
            if category not in ids:
                kind = "thing" if isthing else "stuff"
                raise ValueError(
                    f"{self._metadata.name}: the model predicts {kind} class {category}, but the "
                    f"set has {sorted(ids)}"
                )
            copy["category_id"] = ids[category]
        return copy


def _table(average: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        [group, *(100 * average[group][name] for name in ("pq", "sq", "rq")), average[group]["n"]]
        for group in GROUPS
        if not math.isnan(average[group]["pq"])
    ]
    headers = ["", "PQ", "SQ", "RQ", "classes"]
    return tabulate(rows, headers=headers, tablefmt="pipe", floatfmt=".2f")


def _class_table(counts: PanopticCounts, categories: list[dict[str, Any]]) -> str:
    rows = [
        [
            category.get("name", category["id"]),
            *(100 * quality[name] for name in ("pq", "sq", "rq")),
            *(table[category["id"]] for table in (counts.tp, counts.fp, counts.fn)),
        ]
        for category in categories
        if (quality := counts.quality(category["id"]))
    ]
    headers = ["class", "PQ", "SQ", "RQ", "matches", "wrong", "missed"]
    return tabulate(rows, headers=headers, tablefmt="pipe", floatfmt=".2f")
