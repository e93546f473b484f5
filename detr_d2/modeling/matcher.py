"""Which query is responsible for which object (DETR paper, section 3.1, equation 1)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode, configurable
from detectron2.structures import BitMasks, Instances, PolygonMasks
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou


@dataclass
class Targets:
    """Objects of N images, concatenated; an image may have none.

    Attributes:
        counts: number of objects of each image, N entries that sum to T.
        classes: int64 (T,), contiguous class ids in [0, K).
        boxes: float32 (T, 4), cxcywh as fractions of the unpadded image.
        masks: N tensors bool (T_i, h_i, w_i) at the size of the image, or None without masks.
    """

    counts: list[int]
    classes: Tensor
    boxes: Tensor
    masks: list[Tensor] | None

    @classmethod
    def from_inputs(
        cls,
        batched_inputs: Sequence[dict],
        device: torch.device,
        num_classes: int,
        with_masks: bool,
    ) -> "Targets":
        """Convert the `instances` of the mapper: gt_classes, gt_boxes (xyxy), gt_masks.

        Raises:
            ValueError: a class is not below num_classes, or masks are wanted and an image has none.
        """
        instances = [x["instances"] for x in batched_inputs]
        for x in batched_inputs:
            _check(x, num_classes, with_masks)
        boxes = []
        for x in instances:
            height, width = x.image_size
            size = torch.tensor([width, height, width, height], dtype=torch.float32)
            boxes.append(box_convert(x.gt_boxes.tensor.cpu() / size, "xyxy", "cxcywh"))
        return cls(
            counts=[len(x) for x in instances],
            classes=torch.cat([x.gt_classes for x in instances]).to(device),
            boxes=torch.cat(boxes).to(device),
            masks=[_bit_masks(x).to(device) for x in instances] if with_masks else None,
        )

    def per_image(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Classes (T_i,) and boxes (T_i, 4) of each image."""
        return zip(self.classes.split(self.counts), self.boxes.split(self.counts), strict=True)


def _bit_masks(instances: Instances) -> Tensor:
    """Masks (T_i, h, w), bool; Detectron2's own mapper makes polygons by default."""
    masks = instances.gt_masks
    if isinstance(masks, PolygonMasks):
        masks = BitMasks.from_polygon_masks(masks, *instances.image_size)
    return masks.tensor


def _check(x: dict, num_classes: int, with_masks: bool) -> None:
    instances, name = x["instances"], x.get("file_name", "an image")
    wrong = [c for c in instances.gt_classes.tolist() if not 0 <= c < num_classes]
    if wrong:
        raise ValueError(
            f"{name} has an object of class {wrong[0]}, but the model knows classes 0 to "
            f"{num_classes - 1}; see MODEL.DETR.NUM_CLASSES"
        )
    if with_masks and not instances.has("gt_masks"):
        raise ValueError(
            f"the objects of {name} have boxes but no masks, from which PanopticDetr learns; train "
            "it on a panoptic data set or on one whose annotations all have a segmentation, or "
            "train boxes alone: MODEL.META_ARCHITECTURE Detr. Detectron2's own mapper drops masks "
            "unless MODEL.MASK_ON is True"
        )


@dataclass
class Matching:
    """One-to-one pairs of queries and objects, for L decoder layers at once.

    Every layer has the same number T of pairs, min(Q, objects) of each image, ordered by image.

    Attributes:
        image: int64 (T,), index of the image in the batch.
        query: int64 (L, T), index of the query in its image.
        target: int64 (L, T), index of the object in the concatenation of all images' objects.
    """

    image: Tensor
    query: Tensor
    target: Tensor


class HungarianMatcher:
    """Finds the pairs of least total cost; has no parameters and needs no gradient."""

    @configurable
    def __init__(
        self, *, cost_class: float = 1.0, cost_l1: float = 5.0, cost_giou: float = 2.0
    ) -> None:
        """Take the weights of the three costs of a pair; the defaults are DETR's."""
        self.cost_class = cost_class
        self.cost_l1 = cost_l1
        self.cost_giou = cost_giou

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        detr = cfg.MODEL.DETR
        return {
            "cost_class": detr.COST_CLASS,
            "cost_l1": detr.COST_L1,
            "cost_giou": detr.COST_GIOU,
        }

    @torch.no_grad()
    def __call__(self, logits: Tensor, boxes: Tensor, targets: Targets) -> Matching:
        """Match every decoder layer by itself, each image on its own.

        Args:
            logits: (L, N, Q, K + 1).
            boxes: (L, N, Q, 4), cxcywh as fractions of the image.
            targets: the objects of the N images.

        Raises:
            FloatingPointError: the costs are not finite, that is, the model has diverged.
        """
        layers, _, queries, _ = logits.shape
        with torch.autocast(logits.device.type, enabled=False):
            costs = [
                self._cost(logits[:, i], boxes[:, i], classes, target_boxes)
                for i, (classes, target_boxes) in enumerate(targets.per_image())
            ]
        # One copy from the device for all layers and images.
        flat = torch.cat([cost.flatten() for cost in costs]).cpu()
        if not torch.isfinite(flat).all():
            raise FloatingPointError(
                "matching: class scores or boxes are not finite; the model has diverged "
                "(lower SOLVER.BASE_LR, or switch SOLVER.AMP off)"
            )
        query: list[list[Tensor]] = [[] for _ in range(layers)]
        target: list[list[Tensor]] = [[] for _ in range(layers)]
        start, offset = 0, 0
        for count in targets.counts:
            block = flat[start : start + layers * queries * count].view(layers, queries, count)
            for layer in range(layers):
                rows, columns = linear_sum_assignment(block[layer].numpy())
                query[layer].append(torch.as_tensor(rows))
                target[layer].append(torch.as_tensor(columns) + offset)
            start, offset = start + block.numel(), offset + count
        image = torch.arange(len(targets.counts)).repeat_interleave(
            torch.tensor([min(count, queries) for count in targets.counts])
        )
        device = logits.device
        return Matching(
            image=image.to(device),
            query=torch.stack([torch.cat(q) for q in query]).to(device),
            target=torch.stack([torch.cat(t) for t in target]).to(device),
        )

    def _cost(self, logits: Tensor, boxes: Tensor, classes: Tensor, targets: Tensor) -> Tensor:
        """(L, Q, K + 1), (L, Q, 4), (T,), (T, 4) -> float32 (L, Q, T)."""
        logits, boxes = logits.float(), boxes.float()
        # Of the likelihood only what changes with the pairing: 1 - p would cost the same.
        cost = -self.cost_class * logits.softmax(-1)[..., classes]
        cost = cost + self.cost_l1 * torch.cdist(boxes, targets.expand(len(boxes), -1, -1), p=1)
        giou = generalized_box_iou(
            box_convert(boxes.flatten(0, 1), "cxcywh", "xyxy"),
            box_convert(targets, "cxcywh", "xyxy"),
        )
        return cost - self.cost_giou * giou.view_as(cost)
