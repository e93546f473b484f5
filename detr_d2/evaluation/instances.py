"""Box and mask average precision over the things of a panoptic data set."""

import contextlib
import io
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detr_d2.compat import has_compiled_ops
from detr_d2.ops.coco_instances import coco_instances
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.utils.files import write_json

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


logger = logging.getLogger(__name__)


class InstanceEvaluator(COCOEvaluator):
    """`COCOEvaluator` that says what is missing, and counts with the fastest backend at hand.

    Args:
        dataset_name: a catalog entry with `json_file`, `thing_classes` and
            `thing_dataset_id_to_contiguous_id`.
        tasks: "bbox", "segm" or both.
        output_dir: folder of the predictions.
    """

    def __init__(self, dataset_name: str, tasks: Sequence[str], output_dir: str) -> None:
        super().__init__(dataset_name, tuple(tasks), output_dir=output_dir, use_fast_impl=False)
        self._backend = choose_backend()
        # pycocotools takes the id 0 for "no match": what it matches there would count as missed.
        for number, annotation in enumerate(self._coco_api.dataset.get("annotations", []), start=1):
            annotation["id"] = number
        with contextlib.redirect_stdout(io.StringIO()):
            self._coco_api.createIndex()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Keep the instances of a batch."""
        for output in outputs:
            if "instances" not in output:
                raise ValueError(
                    f"TEST.EVALUATORS has 'box' or 'mask', but the model gives {sorted(output)}; "
                    "set MODEL.DETR.INSTANCE_ON True or leave them out"
                )
            if "segm" in self._tasks and not output["instances"].has("pred_masks"):
                raise ValueError(
                    "TEST.EVALUATORS has 'mask', but the model's instances have no masks; "
                    "only PanopticDetr gives them"
                )
        super().process(inputs, outputs)

    def evaluate(self) -> dict[str, Any]:
        """Compare with the ground truth; finding nothing where there is something scores 0."""
        results = super().evaluate()
        if any(not ground_truth["iscrowd"] for ground_truth in self._coco_api.anns.values()):
            # Detectron2 gives NaN for an empty list of predictions.
            for figures in results.values():
                for name in ("AP", "AP50", "AP75"):
                    figures[name] = 0.0 if math.isnan(figures[name]) else figures[name]
        return results

    def _eval_predictions(self, predictions: list[dict[str, Any]], img_ids: None = None) -> None:
        """Write the results of all images, count each task, and keep its figures."""
        if not self._do_evaluation:
            logger.warning("%s lists no annotations to compare with", self._metadata.json_file)
            return
        dataset_ids = {v: k for k, v in self._metadata.thing_dataset_id_to_contiguous_id.items()}
        results = [result for prediction in predictions for result in prediction["instances"]]
        for result in results:
            if result["category_id"] not in dataset_ids:
                raise ValueError(
                    f"image {result['image_id']!r}: the model predicts thing class "
                    f"{result['category_id']}, but the set has {sorted(dataset_ids)}"
                )
            result["category_id"] = dataset_ids[result["category_id"]]
        write_json(os.path.join(self._output_dir, "coco_instances_results.json"), results)
        logger.info("%s counts the average precision of %d instances", self._backend, len(results))
        for task in sorted(self._tasks):
            counted = None
            if results:
                counted = count_precision(self._coco_api, results, task, self._backend)
            names = self._metadata.thing_classes
            self._results[task] = self._derive_coco_results(counted, task, class_names=names)


def build_instance_evaluator(
    dataset_name: str, tasks: list[str], output_dir: str
) -> InstanceEvaluator:
    """COCO evaluation of the things of a data set.

    The ground truth is the set's instances JSON (`json_file` in its metadata) if it has one. Else
    it is derived from the panoptic files: the visible part of every thing, crowds as crowds.

    Args:
        dataset_name: a registered panoptic set with at least one thing category.
        tasks: "bbox", "segm" or both.
        output_dir: folder of the derived ground truth and of the predictions.
    """
    metadata = MetadataCatalog.get(dataset_name)
    json_file = metadata.get("json_file")
    if not json_file:
        json_file = os.path.join(output_dir, "instances_ground_truth.json")
        if comm.is_main_process():
            write_json(json_file, instances_from_panoptic(dataset_name))
        comm.synchronize()
    # COCOEvaluator takes its names from a catalog entry and wants as many thing classes as the
    # JSON has categories; a panoptic set lists stuff there too.
    derived = _fresh_metadata(f"{dataset_name}.things")
    ids = metadata.thing_dataset_id_to_contiguous_id
    derived.set(
        json_file=json_file,
        # Their figures come in the order of the ids in the JSON.
        thing_classes=[metadata.thing_classes[ids[number]] for number in sorted(ids)],
        thing_dataset_id_to_contiguous_id=dict(ids),
    )
    return InstanceEvaluator(derived.name, tasks, output_dir)


def instances_from_panoptic(dataset_name: str) -> dict[str, Any]:
    """COCO instances (RLE masks, data-set category ids) of a registered panoptic set's things.

    Areas and boxes are counted from the PNGs. A segment that its PNG does not show is skipped.
    """
    metadata = MetadataCatalog.get(dataset_name)
    to_dataset_id = {v: k for k, v in metadata.thing_dataset_id_to_contiguous_id.items()}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in DatasetCatalog.get(dataset_name):
        ids = read_ids(record["pan_seg_file_name"])
        height, width = ids.shape
        images.append({"id": record["image_id"], "height": height, "width": width})
        for entry in coco_instances(ids, record["segments_info"], to_dataset_id, polygons=False):
            # COCO's matching takes id 0 for "no match".
            place = {"id": len(annotations) + 1, "image_id": record["image_id"]}
            annotations.append({**place, **entry})
    categories = [
        {"id": id_, "name": metadata.thing_classes[index]} for index, id_ in to_dataset_id.items()
    ]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def _fresh_metadata(name: str) -> Metadata:
    """An empty catalog entry of this name; Metadata refuses to change what was set before."""
    if name in MetadataCatalog.list():
        MetadataCatalog.remove(name)
    return MetadataCatalog.get(name)
