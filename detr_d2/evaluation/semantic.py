"""Semantic quality (mIoU) of things and stuff together, against the panoptic ground truth."""

from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator

from detr_d2.ops.panoptic_ids import read_ids


class SemanticEvaluator(SemSegEvaluator):
    """`SemSegEvaluator` that says what is missing when the model's outputs do not fit."""

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Count the pixels of a batch."""
        for image, output in zip(inputs, outputs, strict=True):
            if "sem_seg" not in output:
                raise ValueError(
                    f"TEST.EVALUATORS has 'semantic', but the model gives {sorted(output)}; set "
                    "MODEL.DETR.SEM_SEG_ON True or leave 'semantic' out"
                )
            expected = self._num_classes, image["height"], image["width"]
            if tuple(output["sem_seg"].shape) != expected:
                raise ValueError(
                    f"{image['file_name']}: the model's sem_seg is {tuple(output['sem_seg'].shape)}"
                    f", expected (classes, height, width) = {expected}"
                )
        super().process(inputs, outputs)


def build_semantic_evaluator(dataset_name: str, output_dir: str) -> SemanticEvaluator:
    """Evaluator of the class of every pixel; void pixels do not count.

    Args:
        dataset_name: a registered panoptic set.
        output_dir: folder of the predictions and the figures.
    """
    metadata = MetadataCatalog.get(dataset_name)
    records = DatasetCatalog.get(dataset_name)
    to_class = {
        record["pan_seg_file_name"]: {s["id"]: s["category_id"] for s in record["segments_info"]}
        for record in records
    }
    # Any label past the classes can be void; the usual 255 is a class in a set with 256 of them.
    void = len(metadata.stuff_classes)

    def load(path: str, dtype: Any = None) -> np.ndarray:
        ids = read_ids(path)
        return semantic_labels(ids, to_class[path], void).astype(dtype or np.int64)

    # SemSegEvaluator takes names and files from catalog entries in the semantic annotation format.
    name = f"{dataset_name}.semantic"
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(
        name, lambda: [{**r, "sem_seg_file_name": r["pan_seg_file_name"]} for r in records]
    )
    both = {
        **metadata.get("thing_dataset_id_to_contiguous_id", {}),
        **metadata.get("stuff_dataset_id_to_contiguous_id", {}),
    }
    MetadataCatalog.get(name).set(
        stuff_classes=list(metadata.stuff_classes),
        stuff_dataset_id_to_contiguous_id=both,
        ignore_label=void,
    )
    return SemanticEvaluator(name, output_dir=output_dir, sem_seg_loading_fn=load)


def semantic_labels(ids: np.ndarray, to_class: dict[int, int], void: int) -> np.ndarray:
    """Turn an id map (H, W) into labels (H, W) int64; ids without a class become `void`."""
    present, inverse = np.unique(ids, return_inverse=True)
    labels = np.array([to_class.get(int(i), void) for i in present], dtype=np.int64)
    return labels[inverse].reshape(ids.shape)
