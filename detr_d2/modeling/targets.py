"""The objects of a batch, in the units the losses use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_convert


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
            masks=[x.gt_masks.tensor.to(device) for x in instances] if with_masks else None,
        )

    def per_image(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Classes (T_i,) and boxes (T_i, 4) of each image."""
        return zip(self.classes.split(self.counts), self.boxes.split(self.counts), strict=True)


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
            "train boxes alone: MODEL.META_ARCHITECTURE Detr"
        )
