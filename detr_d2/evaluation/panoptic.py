"""Panoptic quality: Detectron2's evaluator, made to work on every panoptic data set."""

import itertools
import json
import logging
import os
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator
from detectron2.utils import comm
from tabulate import tabulate

from detr_d2.evaluation.pq import panoptic_quality
from detr_d2.utils.files import write_json

logger = logging.getLogger(__name__)

GROUPS = {"All": "", "Things": "_th", "Stuff": "_st"}


class PanopticEvaluator(COCOPanopticEvaluator):
    """`COCOPanopticEvaluator` with the same figures, without its traps.

    - Sets with things only or stuff only are measured; the absent group is NaN.
    - Predictions are named by a number: images of the same base name do not replace each other.
    - The model's outputs stay as they are for whoever reads them next.

    Args:
        dataset_name: registered, with `panoptic_json` and `panoptic_root` in its metadata.
        output_dir: folder of `predictions.json`.
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
        self._thing_contiguous_id_to_dataset_id = {v: k for k, v in things.items()}
        self._stuff_contiguous_id_to_dataset_id = {v: k for k, v in stuff.items()}
        self._output_dir = output_dir
        self._predictions: list[dict[str, Any]] = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Keep the predictions of a batch as PNGs in memory."""
        for image, output in zip(inputs, outputs, strict=True):
            if "panoptic_seg" not in output:
                raise ValueError(
                    f"TEST.EVALUATORS has 'panoptic', but the model gives {sorted(output)}; set "
                    "MODEL.DETR.PANOPTIC_ON True or leave 'panoptic' out"
                )
            ids, segments = output["panoptic_seg"]
            copies = None if segments is None else [dict(segment) for segment in segments]
            number = f"{len(self._predictions)}-{comm.get_rank()}.png"
            super().process([{**image, "file_name": number}], [{"panoptic_seg": (ids, copies)}])

    def evaluate(self) -> dict[str, Any] | None:
        """Compare with the ground truth; call it in all processes, the main one gets figures.

        Returns:
            {"panoptic_seg": {PQ, SQ, RQ, and the same with _th and _st}} in percent.
        """
        comm.synchronize()
        predictions = list(itertools.chain(*comm.gather(self._predictions)))
        if not comm.is_main_process():
            return None
        with open(self._metadata.panoptic_json, encoding="utf-8") as file:
            ground_truth = json.load(file)
        with tempfile.TemporaryDirectory(prefix="panoptic_eval") as folder:
            for prediction in predictions:
                with open(os.path.join(folder, prediction["file_name"]), "wb") as png:
                    png.write(prediction.pop("png_string"))
            write_json(
                os.path.join(self._output_dir, "predictions.json"),
                {**ground_truth, "annotations": predictions},
            )
            result = panoptic_quality(
                ground_truth, predictions, self._metadata.panoptic_root, folder
            )
        logger.info("Panoptic quality:\n%s", _table(result))
        figures = {
            f"{name.upper()}{suffix}": 100 * result[group][name]
            for group, suffix in GROUPS.items()
            for name in ("pq", "sq", "rq")
        }
        return OrderedDict({"panoptic_seg": figures})


def _table(result: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        [group, *(100 * result[group][name] for name in ("pq", "sq", "rq")), result[group]["n"]]
        for group in GROUPS
        if not np.isnan(result[group]["pq"])
    ]
    headers = ["", "PQ", "SQ", "RQ", "classes"]
    return tabulate(rows, headers=headers, tablefmt="pipe", floatfmt=".2f")
