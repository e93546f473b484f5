"""Set criterion: match queries to objects, then weigh the losses (DETR paper, section 3.1)."""

from collections.abc import Mapping, Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.utils import comm
from torch import Tensor

from detr_d2.modeling import losses
from detr_d2.modeling.matcher import HungarianMatcher, Matching, Targets
from detr_d2.ops.masks import Size

# Weights of the losses, as published.
WEIGHTS = {"class": 1.0, "l1": 5.0, "giou": 2.0, "focal": 1.0, "dice": 1.0}
MASK_LOSSES = ("focal", "dice")


class SetCriterion:
    """Gives weighted losses and nothing else; a loss of weight 0 is not computed."""

    @configurable
    def __init__(
        self,
        *,
        matcher: HungarianMatcher | None = None,
        weights: Mapping[str, float] = WEIGHTS,
        no_object_weight: float = 0.1,
        deep_supervision: bool = True,
        mask_score_thresh: float = 0.0,
    ) -> None:
        """
        Args:
            matcher: finds the pairs; None is DETR's.
            weights: weight of each loss, by the names of `WEIGHTS`; a missing one is off.
            no_object_weight: weight of "no object" inside the class loss.
            deep_supervision: class and box losses for every decoder layer.
            mask_score_thresh: masks are trained only for matched queries that score above it.

        Raises:
            ValueError: an unknown name in weights, or all of them are off.
        """
        if unknown := set(weights) - set(WEIGHTS):
            raise ValueError(f"unknown losses {sorted(unknown)}; allowed: {list(WEIGHTS)}")
        if not any(weights.values()):
            raise ValueError(f"all losses are off; give one of {list(WEIGHTS)} a weight")
        self.matcher = matcher or HungarianMatcher()
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.no_object_weight = no_object_weight
        self.deep_supervision = deep_supervision
        self.mask_score_thresh = mask_score_thresh

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        detr = cfg.MODEL.DETR
        return {
            "matcher": HungarianMatcher(cfg),
            "weights": {
                "class": detr.CLASS_WEIGHT,
                "l1": detr.L1_WEIGHT,
                "giou": detr.GIOU_WEIGHT,
                "focal": detr.FOCAL_WEIGHT,
                "dice": detr.DICE_WEIGHT,
            },
            "no_object_weight": detr.NO_OBJECT_WEIGHT,
            "deep_supervision": detr.DEEP_SUPERVISION,
            "mask_score_thresh": detr.MASK_TRAIN_SCORE_THRESH,
        }

    @property
    def needs_masks(self) -> bool:
        """Whether a mask loss is on: else nobody needs masks in training."""
        return any(name in self.weights for name in MASK_LOSSES)

    def group_losses(
        self, logits: Tensor, boxes: Tensor, targets: Targets
    ) -> tuple[dict[str, Tensor], Matching]:
        """Class and box losses of all layers, or of the last only; never in 16 bits.

        Args:
            logits: float32 (G, L, N, Q, K + 1) of G query groups, each matched on its own; boxes:
                float32 (G, L, N, Q, 4).
            targets: the objects of the N images.

        Returns:
            `loss_class`, `loss_l1`, `loss_giou` of the last layer, and the same with `_0`, `_1`
            and so on of those before it, means over the groups; and the matching of these layers
            of the first group.
        """
        if not self.deep_supervision:
            logits, boxes = logits[:, -1:], boxes[:, -1:]
        groups, layers = logits.shape[:2]
        with torch.autocast(logits.device.type, enabled=False):
            # A group is matched and weighed like a further set of layers.
            values, matching = self._box_losses(logits.flatten(0, 1), boxes.flatten(0, 1), targets)
        suffixes = [f"_{layer}" for layer in range(layers - 1)] + [""]
        weighted = {
            f"loss_{name}{suffix}": self.weights[name] * loss
            for name, value in values.items()
            for suffix, loss in zip(suffixes, value.view(groups, layers).mean(0), strict=True)
        }
        first = Matching(matching.image, matching.query[:layers], matching.target[:layers])
        return weighted, first

    def _box_losses(
        self, logits: Tensor, boxes: Tensor, targets: Targets
    ) -> tuple[dict[str, Tensor], Matching]:
        """Losses (L,) without their weights, and the matching of L layers of N images."""
        layers = len(logits)
        matching = self.matcher(logits, boxes, targets)
        values: dict[str, Tensor] = {}
        if "class" in self.weights:
            classes = target_classes(logits, targets, matching)
            values["class"] = losses.class_loss(
                logits, classes, self.no_object_weight, mean_over_processes
            )
        count = normalizer(targets)
        row = torch.arange(layers, device=boxes.device)[:, None]
        matched, expected = (
            boxes[row, matching.image, matching.query],
            targets.boxes[matching.target],
        )
        if "l1" in self.weights:
            values["l1"] = losses.l1_loss(matched, expected) / count
        if "giou" in self.weights:
            values["giou"] = losses.generalized_iou_loss(matched, expected) / count
        return values, matching

    def select(self, logits: Tensor, matching: Matching) -> Matching:
        """The pairs of the last layer whose masks are trained, as a matching of one layer.

        Args:
            logits: (N, Q, K + 1) of the last layer.
            matching: any number of layers.
        """
        query, target = matching.query[-1], matching.target[-1]
        scores = logits[matching.image, query].float().softmax(-1)[:, :-1].amax(-1)
        keep = scores > self.mask_score_thresh
        return Matching(matching.image[keep], query[keep][None], target[keep][None])

    def mask_losses(
        self,
        masks: Sequence[Tensor],
        targets: Targets,
        selected: Matching,
        extents: Sequence[Size],
    ) -> dict[str, Tensor]:
        """Focal and dice loss of the selected pairs, over the unpadded pixels of each image.

        Args:
            masks: N tensors (T_i, ., .) of logits, in the order of `selected`.
            targets: the objects, with masks.
            selected: result of `select`.
            extents: size that the masks of each image cover, from its upper left corner, pixels.
        """
        assert targets.masks is not None, "mask losses need targets with masks"
        # Nothing so far; a sum over no pixel is 0 and keeps the mask head in the graph, which
        # other processes may use. Zero times a sum would be NaN where the sum overflows.
        nothing = masks[0].flatten()[:0].float().sum()
        totals = dict.fromkeys(MASK_LOSSES, nothing)
        offset = 0
        for i, (logits, target_masks) in enumerate(zip(masks, targets.masks, strict=True)):
            rows = selected.target[0, selected.image == i] - offset
            offset += len(target_masks)
            if not len(rows):
                continue
            values = losses.mask_losses(logits.float(), target_masks[rows], extents[i])
            for name, value in zip(MASK_LOSSES, values, strict=True):
                totals[name] = totals[name] + value
        count = normalizer(targets)
        return {
            f"loss_{name}": self.weights[name] * value / count
            for name, value in totals.items()
            if name in self.weights
        }


def normalizer(targets: Targets) -> float:
    """Mean number of objects per process, from at least 1 in all: the same for all processes."""
    count = torch.tensor(float(len(targets.classes)), device=targets.classes.device)
    return max(mean_over_processes(count).item(), 1.0 / comm.get_world_size())


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a tensor without gradient over all processes."""
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(value)
    return value / comm.get_world_size()


def target_classes(logits: Tensor, targets: Targets, matching: Matching) -> Tensor:
    """Class that each query should predict: int64 (L, N, Q), K = no object."""
    classes = logits.new_full(logits.shape[:-1], logits.shape[-1] - 1, dtype=torch.int64)
    row = torch.arange(len(matching.query), device=logits.device)[:, None]
    classes[row, matching.image, matching.query] = targets.classes[matching.target]
    return classes


@torch.no_grad()
def metrics(logits: Tensor, targets: Targets, matching: Matching) -> dict[str, float]:
    """What to watch while training; never part of the loss.

    Args:
        logits: (N, Q, K + 1) of the last layer.

    Returns:
        `class_error`: wrong classes among matched queries, percent, and `cardinality_error`:
        mean |predicted - true| number of objects per image. No objects: class_error is absent.
    """
    predicted = logits.argmax(-1)
    found = (predicted != logits.shape[-1] - 1).sum(1)
    true = torch.tensor(targets.counts, device=found.device)
    result = {"cardinality_error": (found - true).abs().float().mean().item()}
    if len(matching.image):
        classes = predicted[matching.image, matching.query[-1]]
        correct = classes == targets.classes[matching.target[-1]]
        result["class_error"] = 100.0 - 100.0 * correct.float().mean().item()
    return result
