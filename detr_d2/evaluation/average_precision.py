"""Average precision of boxes and masks as COCO defines it, by the fastest backend at hand.

All three give the figures of pycocotools: hotcoco (optional, in Rust) to the last bit, Detectron2's
compiled operators nearly so.
"""

import contextlib
import io
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detr_d2.compat import has_compiled_ops

Backend = Literal["detectron2", "hotcoco", "pycocotools"]
# Detections counted per image, for the three average recalls; the last one is for precision.
MAX_DETECTIONS = [1, 10, 100]


def choose_backend() -> Backend:
    """The fastest that can be imported."""
    if has_compiled_ops():
        return "detectron2"
    try:
        import hotcoco  # noqa: F401
    except ImportError:
        return "pycocotools"
    return "hotcoco"


def count_precision(
    ground_truth: COCO, results: list[dict[str, Any]], task: str, backend: Backend
) -> Any:
    """Match results with the ground truth and summarize.

    Args:
        ground_truth: instances; no annotation has the id 0, which pycocotools takes for "no match".
        results: entries of COCO's result format, at least one.
        task: "bbox" or "segm".
        backend: see `choose_backend`.

    Returns:
        A COCOeval: `stats` (12,), and in `eval` "precision" (IoU, recall, category, area range,
        most detections), -1 where there is nothing to find.

    Raises:
        ValueError: results of images that the ground truth does not list.
    """
    unknown = {result["image_id"] for result in results} - ground_truth.imgs.keys()
    if unknown:
        listed = sorted(unknown, key=str)[:5]
        raise ValueError(f"{len(unknown)} predicted image(s) are not in the JSON, first: {listed}")
    # With a box beside it a mask would be small, medium or large by the box's area.
    keys = ("image_id", "category_id", "score", "bbox" if task == "bbox" else "segmentation")
    results = [{key: result[key] for key in keys} for result in results]
    with contextlib.redirect_stdout(io.StringIO()):
        counted = _start(ground_truth, results, task, backend)
        counted.params.maxDets = MAX_DETECTIONS
        counted.evaluate()
        counted.accumulate()
        counted.summarize()
    return counted


def _start(ground_truth: COCO, results: list[dict[str, Any]], task: str, backend: Backend) -> Any:
    """A COCOeval with its data."""
    if backend == "hotcoco":
        import hotcoco

        # It takes whole numbers only; their order decides between equal scores.
        numbers = {name: number for number, name in enumerate(sorted(ground_truth.imgs))}
        content = {
            "images": _numbered(ground_truth.dataset["images"], numbers, "id"),
            "annotations": _numbered(ground_truth.dataset["annotations"], numbers, "image_id"),
            "categories": ground_truth.dataset["categories"],
        }
        reference = hotcoco.COCO(content)
        found = reference.loadRes(_numbered(results, numbers, "image_id"))
        return hotcoco.COCOeval(reference, found, task)
    if backend == "detectron2":
        from detectron2.evaluation.fast_eval_api import COCOeval_opt

        return COCOeval_opt(ground_truth, ground_truth.loadRes(results), task)
    return COCOeval(ground_truth, ground_truth.loadRes(results), task)


def _numbered(
    entries: Iterable[Mapping[str, Any]], numbers: Mapping[Any, int], key: str
) -> list[dict[str, Any]]:
    return [{**entry, key: numbers[entry[key]]} for entry in entries]
