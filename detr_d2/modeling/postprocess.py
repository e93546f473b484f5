"""From scores, boxes and masks of one image to Detectron2's outputs (DETR paper, section 4.4.1).

Legend: Q queries, K classes, (h, w) size of the mask head's result, (H, W) size of the outputs.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from detectron2.config import CfgNode, configurable
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torchvision.ops import box_convert

from detr_d2.modeling.box_head import ClassPredictions, predict_classes
from detr_d2.modeling.class_metadata import classes_of
from detr_d2.modeling.duplicates import find_duplicates
from detr_d2.modeling.panoptic_merge import UniteStuff, panoptic_inference
from detr_d2.ops.masks import ImageSizes, Size, cut_padding, unpad_and_resize

# Queries whose masks are brought to the size of the outputs at the same time.
CHUNK = 16


class PostProcess:
    """Makes the outputs of inference; its last three switches take back our corrections."""

    @configurable
    def __init__(
        self,
        *,
        thing_ids: Iterable[int],
        panoptic_on: bool = True,
        instance_on: bool = True,
        sem_seg_on: bool = False,
        score_thresh: float = 0.85,
        duplicate_iou: float = 1.0,
        instance_score_thresh: float = 0.0,
        min_area: int = 5,
        crop_padding: bool = True,
        unite_stuff: UniteStuff = "after_filtering",
        resize: Literal["masks", "ids"] = "masks",
    ) -> None:
        """
        Args:
            thing_ids: contiguous ids of the thing classes, all others are stuff.
            panoptic_on, instance_on, sem_seg_on: which outputs to give; without masks only
                instances.
            score_thresh: queries at or below it are no segments of the panoptic map.
            duplicate_iou: of two things of one class whose boxes overlap by more, in [0, 1], only
                the one with the better score can be a segment; 1 keeps all, as published.
            instance_score_thresh: queries at or below it are no instances.
            min_area: pixels; smaller segments are given to their neighbours.
            crop_padding: False lets the padding of a batch into the masks, as published.
            unite_stuff: "before_filtering" as published: the union of the segments of one stuff
                class is undone as soon as a small segment is dropped.
            resize: "ids" as published: masks compete at the size of the network's image, and the
                map of the winners is enlarged; "masks" compete at the size of the outputs.

        Raises:
            ValueError: unite_stuff or resize is none of its values, or duplicate_iou is no share.
        """
        if not 0.0 <= duplicate_iou <= 1.0:
            raise ValueError(f"MODEL.DETR.DUPLICATE_IOU is {duplicate_iou}, must be from 0 to 1")
        for key, value, allowed in (
            ("UNITE_STUFF", unite_stuff, ("after_filtering", "before_filtering")),
            ("RESIZE", resize, ("masks", "ids")),
        ):
            if value not in allowed:
                raise ValueError(
                    f"MODEL.DETR.POSTPROCESS.{key} is {value!r}; allowed: {', '.join(allowed)}"
                )
        self.thing_ids = frozenset(thing_ids)
        self.panoptic_on = panoptic_on
        self.instance_on = instance_on
        self.sem_seg_on = sem_seg_on
        self.score_thresh = score_thresh
        self.duplicate_iou = duplicate_iou
        self.instance_score_thresh = instance_score_thresh
        self.min_area = min_area
        self.crop_padding = crop_padding
        self.unite_stuff: UniteStuff = unite_stuff
        self.resize = resize

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        detr = cfg.MODEL.DETR
        return {
            "thing_ids": classes_of(cfg)[1],
            "panoptic_on": detr.PANOPTIC_ON,
            "instance_on": detr.INSTANCE_ON,
            "sem_seg_on": detr.SEM_SEG_ON,
            "score_thresh": detr.SCORE_THRESH,
            "duplicate_iou": detr.DUPLICATE_IOU,
            "instance_score_thresh": detr.INSTANCE_SCORE_THRESH,
            "min_area": detr.MIN_AREA,
            "crop_padding": detr.POSTPROCESS.CROP_PADDING,
            "unite_stuff": detr.POSTPROCESS.UNITE_STUFF,
            "resize": detr.POSTPROCESS.RESIZE,
        }

    def classify(self, logits: Tensor, boxes: Tensor) -> ClassPredictions:
        """Classes of the queries of one image; a duplicate is no object.

        Args:
            logits: (Q, K + 1), the last column "no object".
            boxes: (Q, 4), cxcywh as fractions of the image.
        """
        found = predict_classes(logits)
        if self.duplicate_iou < 1.0:
            candidates = found.is_object & self._things(found)
            duplicates = find_duplicates(found, boxes, candidates, self.duplicate_iou)
            found.is_object &= ~duplicates
        return found

    def needed_queries(self, found: ClassPredictions) -> Tensor:
        """Return which queries some output needs, bool (Q,); `sem_seg` needs all."""
        # Not full_like, which cannot be traced with a Python bool.
        needed = (torch.ones_like if self.sem_seg_on else torch.zeros_like)(found.is_object)
        if self.panoptic_on:
            needed |= self._segments(found)
        if self.instance_on:
            needed |= self._instances(found)
        return needed

    def __call__(
        self, found: ClassPredictions, boxes: Tensor, masks: Tensor | None, sizes: ImageSizes
    ) -> dict:
        """Make the outputs of one image.

        Args:
            found: of the Q queries that `needed_queries` gave.
            boxes: (Q, 4), cxcywh as fractions of the image.
            masks: logits (Q, h, w) over the padded size, or None of a model without masks.
            sizes: of the image.

        Returns:
            As switched on, at the size of the outputs: `panoptic_seg`, int32 (H, W) and segments,
            see `panoptic_inference`; `instances`, see `instance_inference`; `sem_seg`, (K, H, W),
            see `semantic_inference`.
        """
        result: dict = {}
        masks = None if masks is None else masks.float()
        if self.panoptic_on and masks is not None:
            segments = self._segments(found)
            result["panoptic_seg"] = panoptic_inference(
                cut_padding(masks[segments], sizes.padded_size, self._shown(sizes)),
                found.scores[segments],
                found.classes[segments],
                thing_ids=self.thing_ids,
                min_area=self.min_area,
                unite_stuff=self.unite_stuff,
                compete_at=sizes.image_size if self.resize == "ids" else sizes.output_size,
                size=sizes.output_size,
            )
        if self.instance_on:
            things = self._instances(found)
            result["instances"] = instance_inference(
                boxes[things],
                found.scores[things],
                found.classes[things],
                sizes.output_size,
                None if masks is None else self._resized(masks[things], sizes),
            )
        if self.sem_seg_on and masks is not None:
            chunks = self._resized(masks, sizes)
            result["sem_seg"] = semantic_inference(chunks, found.probabilities, sizes.output_size)
        return result

    def _segments(self, found: ClassPredictions) -> Tensor:
        """Which queries take part in the panoptic map: bool (Q,)."""
        return found.is_object & (found.scores > self.score_thresh)

    def _instances(self, found: ClassPredictions) -> Tensor:
        """Which queries become instances: bool (Q,)."""
        return self._things(found) & (found.scores > self.instance_score_thresh)

    def _things(self, found: ClassPredictions) -> Tensor:
        """Which queries have a thing class: bool (Q,)."""
        # With its type, for a data set without things.
        things = torch.tensor(sorted(self.thing_ids), dtype=torch.int64)
        return torch.isin(found.classes, things.to(found.classes.device))

    def _resized(self, masks: Tensor, sizes: ImageSizes) -> Iterator[Tensor]:
        """Bring logits (Q, h, w) over the padded size to the outputs', (q, H, W) at a time."""
        # A trace would keep the number of chunks.
        at_once = torch.jit.is_tracing()  # type: ignore[attr-defined]
        for chunk in [masks] if at_once else masks.split(CHUNK):
            shown = self._shown(sizes)
            yield unpad_and_resize(chunk, sizes.padded_size, shown, sizes.output_size)

    def _shown(self, sizes: ImageSizes) -> Size:
        return sizes.image_size if self.crop_padding else sizes.padded_size


def instance_inference(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    size: Size,
    masks: Iterable[Tensor] | None = None,
) -> Instances:
    """Put instances into Detectron2's structure.

    Args:
        boxes: (Q, 4), cxcywh as fractions of the image.
        size: (H, W).
        masks: logits (q, H, W) of all Q queries, q at a time, or None for boxes only.

    Returns:
        pred_boxes (xyxy pixels, clipped), scores, pred_classes and, with masks, pred_masks
        bool (Q, H, W).
    """
    height, width = size
    result = Instances(size)
    xyxy = box_convert(boxes.float(), "cxcywh", "xyxy")
    result.pred_boxes = Boxes(xyxy * xyxy.new_tensor([width, height, width, height]))
    result.pred_boxes.clip(size)
    result.scores = scores
    result.pred_classes = classes
    if masks is not None:
        result.pred_masks = scores.new_empty((scores.shape[0], *size), dtype=torch.bool)
        start = 0
        for chunk in masks:
            result.pred_masks[start : start + chunk.shape[0]] = chunk > 0
            start += chunk.shape[0]
    return result


def semantic_inference(masks: Iterable[Tensor], probabilities: Tensor, size: Size) -> Tensor:
    """Score every class at every pixel, with all queries, whatever their scores.

    A class that no query is sure of may still win a pixel, as in MaskFormer (arXiv:2107.06278,
    section 3.4).

    Args:
        masks: logits (q, H, W) of all Q queries, q at a time, so that memory need not hold all.
        probabilities: (Q, K) of the real classes.
        size: (H, W).

    Returns:
        (K, H, W), the sum over queries of class probability times mask probability.
    """
    scores = probabilities.new_zeros(probabilities.shape[1], size[0] * size[1])
    start = 0
    for chunk in masks:
        rows = probabilities[start : start + len(chunk)]
        scores.addmm_(rows.T, chunk.sigmoid().flatten(1))
        start += len(chunk)
    return scores.unflatten(1, size)
