"""The published computation of panoptic DETR, the yardstick of the benchmark.

The same weights and functions as `PanopticDetr`, computed as the published code computes them: the
mask head on all queries with everything repeated per query, attention that also gives its weights,
batch norms apart from the convolutions, channels first, all masks resized and merged at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

from detr_d2.modeling import ForwardState, PanopticDetr, PostProcess, SetCriterion
from detr_d2.modeling.box_head import ClassPredictions
from detr_d2.modeling.matcher import Matching, Targets
from detr_d2.ops.masks import ImageSizes, Size

import numpy as np
import torch
from dense_mask_head import dense_masks
from detectron2.structures import ImageList
from fvcore.nn import sigmoid_focal_loss
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F


class PublishedDetr(PanopticDetr):
    """PanopticDetr the long way; FOLD_FROZEN_NORMS is to be off."""

    def prepare(self) -> "PublishedDetr":
        """Undo what the constructor arranged for speed."""
        self.backbone.to(memory_format=torch.contiguous_format)
        for module in self.transformer.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.forward = with_weights(module.forward)
        self.postprocess.__class__ = PublishedPostProcess
        self.criterion.__class__ = PublishedCriterion
        return self

    def preprocess(self, batched_inputs: list[dict]) -> ImageList:
        """As `Detr`, channels first."""
        batch = super().preprocess(batched_inputs)
        batch.tensor = batch.tensor.contiguous()
        return batch

    def predict_masks(self, state: ForwardState, queries: list[Tensor]) -> list[Tensor]:
        """As `PanopticDetr.predict_masks`, for all queries, of which the wanted ones are taken."""
        features = [state.features[name] for name in self.mask_features]
        masks = dense_masks(self.mask_head, state.projected, self.attend(state), features)
        return [masks[i, wanted] for i, wanted in enumerate(queries)]


def with_weights(attend: Callable) -> Callable:
    """Let attention compute its weights, which nobody uses, and take a mask even if it is empty."""

    def attend_with_weights(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:
        options["need_weights"] = True
        return attend(query, key, value, **options)

    return attend_with_weights


class PublishedCriterion(SetCriterion):
    """Mask losses by autograd, over all masks of an image at once."""

    def mask_losses(
        self,
        masks: Sequence[Tensor],
        targets: Targets,
        selected: Matching,
        extents: Sequence[Size],
    ) -> dict[str, Tensor]:
        """As `SetCriterion`, for one image without padding."""
        assert targets.masks is not None
        expected = targets.masks[0][selected.target[0]].flatten(1).float()
        size = targets.masks[0].shape[-2:]
        logits = F.interpolate(masks[0][None].float(), size, mode="bilinear")[0].flatten(1)
        focal = sigmoid_focal_loss(logits, expected, alpha=0.25, gamma=2.0).mean(1).sum()
        p = logits.sigmoid()
        dice = 1 - (2 * (p * expected).sum(1) + 1) / (p.sum(1) + expected.sum(1) + 1)
        count = max(len(expected), 1)
        return {"loss_focal": focal / count, "loss_dice": dice.sum() / count}


class PublishedPostProcess(PostProcess):
    """Gives `panoptic_seg` alone, by the published merge."""

    def __call__(
        self, found: ClassPredictions, boxes: Tensor, masks: Tensor | None, sizes: ImageSizes
    ) -> dict:
        """Merge the masks of all given queries."""
        size = sizes.output_size
        merged = merge_as_published(masks, found, self.thing_ids, sizes.image_size, size)
        return {"panoptic_seg": merged}


def merge_as_published(
    masks: Tensor, found: ClassPredictions, things: frozenset[int], image_size: Size, size: Size
) -> tuple[Tensor, list[dict]]:
    """Merge masks (Q, ., .) at the image's size, unite stuff at once, drop segments of 4 pixels."""
    masks = F.interpolate(masks[None], image_size, mode="bilinear")[0]
    scores, classes = found.scores, found.classes
    while len(masks):
        winner = masks.flatten(1).T.softmax(-1).argmax(-1).view(masks.shape[-2:])
        for category in set(classes.tolist()) - things:
            same = (classes == category).nonzero()[:, 0].tolist()
            for other in same[1:]:
                winner[winner == other] = same[0]
        # The map goes through the colours of a PNG to its size.
        ids = winner.cpu().numpy()
        colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        resized = Image.fromarray(colors).resize(size[::-1], resample=Image.Resampling.NEAREST)
        ids = np.asarray(resized).astype(np.int64) @ np.array([1, 256, 65536])
        areas = [int((ids == i).sum()) for i in range(len(masks))]
        large = torch.tensor([area > 4 for area in areas], device=masks.device)
        if large.all():
            rows = zip(classes.tolist(), scores.tolist(), areas, strict=True)
            segments = [
                {"id": i + 1, "category_id": c, "isthing": c in things, "score": s, "area": a}
                for i, (c, s, a) in enumerate(rows)
            ]
            return torch.from_numpy(ids).int() + 1, segments
        masks, scores, classes = masks[large], scores[large], classes[large]
    return torch.zeros(size, dtype=torch.int32), []
