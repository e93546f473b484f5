"""DETR with masks: bbox attention and FPN mask head on top of `Detr` (DETR paper, section 4.4)."""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from torch import Tensor, nn

from ..compat import put_scalars
from ..ops.masks import Size, unpad_and_resize
from . import build
from .criterion import metrics
from .detr import Detection, Detr, DetrOutputs, output_size
from .postprocess import (
    PostProcess,
    best_classes,
    instance_inference,
    panoptic_inference,
    semantic_inference,
)


@META_ARCH_REGISTRY.register()
class PanopticDetr(Detr):
    """Adds one mask per query; gives `panoptic_seg`, `instances` with masks, and `sem_seg`.

    The parameters of `Detr` keep their names, so a checkpoint of the box stage loads as it is.
    """

    @configurable
    def __init__(
        self,
        *,
        bbox_attention: nn.Module,
        mask_head: nn.Module,
        mask_features: list[str],
        freeze: bool,
        panoptic_on: bool = True,
        sem_seg_on: bool = False,
        score_thresh: float = 0.85,
        min_area: int = 5,
        postprocess: PostProcess | None = None,
        **detr_arguments: object,
    ) -> None:
        """
        Args:
            bbox_attention, mask_head: see `registry.py` for their contracts.
            mask_features: backbone features for the mask head, coarse to fine.
            freeze: DETR stays in evaluation mode and gets no gradient; only mask losses are left.
            panoptic_on, sem_seg_on: which outputs to give, besides `instance_on`.
            score_thresh: queries at or below it are no segments.
            min_area: pixels; smaller segments are given to their neighbours.
            postprocess: corrections of the published post-processing; None makes all of them.
            detr_arguments: as for `Detr`.

        Raises:
            ValueError: frozen, but both mask losses are off.
        """
        super().__init__(**detr_arguments)
        if freeze and not self.criterion.needs_masks:
            raise ValueError(
                "MODEL.DETR.FREEZE leaves the mask losses alone, but FOCAL_WEIGHT and DICE_WEIGHT "
                "are both 0: nothing would learn"
            )
        self.freeze = freeze
        if freeze:
            self.requires_grad_(False)
        self.bbox_attention = bbox_attention
        self.mask_head = mask_head
        self.mask_features = mask_features
        self.panoptic_on = panoptic_on
        self.sem_seg_on = sem_seg_on
        self.score_thresh = score_thresh
        self.min_area = min_area
        self.postprocess = postprocess or PostProcess()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        backbone = build_backbone(cfg)
        return build.detr_arguments(cfg, backbone) | build.panoptic_arguments(cfg, backbone)

    def train(self, mode: bool = True) -> "PanopticDetr":
        """As always, but a frozen DETR stays in evaluation mode: no dropout, fixed statistics."""
        super().train(mode)
        if self.freeze:
            for name, module in self.named_children():
                if name not in ("bbox_attention", "mask_head"):
                    module.eval()
        return self

    def losses(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        """Weighted mask losses and, unless frozen, class and box losses."""
        images = self.preprocess(batched_inputs)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            detection = self.detect(images)
        with_masks = self.criterion.needs_masks
        targets = self.targets(batched_inputs, with_masks=with_masks)
        losses: dict[str, Tensor] = {}
        if self.freeze:
            last = (detection.all_logits[0, -1:], detection.all_boxes[0, -1:])
            matching = self.criterion.matcher(*last, targets)
        else:
            losses, matching = self.box_losses(detection, targets)
        put_scalars(metrics(detection.logits, targets, matching))
        if not with_masks:
            return losses
        selected = self.criterion.select(detection.logits, matching)
        per_image = [selected.query[0, selected.image == i] for i in range(len(batched_inputs))]
        masks = self.draw(detection, per_image)
        with torch.autocast(self.device.type, enabled=False):
            canvas = images.tensor.shape[-2:]
            return losses | self.criterion.mask_losses(masks, targets, selected, canvas)

    def draw(self, detection: Detection, queries: list[Tensor]) -> list[Tensor]:
        """Run the mask head on chosen queries only.

        Args:
            queries: N index tensors (Q_i,), the queries wanted of each image.

        Returns:
            N tensors (Q_i, H/4, W/4) of mask logits over the canvas.
        """
        attention = self.attend(detection)
        return self.mask_head(
            detection.projected,
            [attention[i, chosen] for i, chosen in enumerate(queries)],
            [detection.features[name] for name in self.mask_features],
        )

    def attend(self, detection: Detection) -> Tensor:
        """Attention maps of all queries, (N, Q, M, h, w)."""
        return self.bbox_attention(detection.embeddings, detection.encoded_image, detection.padding)

    def inference_groups(self, batched_inputs: list[dict]) -> list[list[int]]:
        """As `Detr`, but for the published post-processing the whole batch, padded."""
        if self.postprocess.crop_padding:
            return super().inference_groups(batched_inputs)
        return [list(range(len(batched_inputs)))]

    def inference(self, batched_inputs: list[dict]) -> list[dict]:
        """Detect and segment in images that `inference_groups` put together.

        Returns:
            One dictionary per image, at the size of the photo (`height`, `width`), with, as
            switched on: `panoptic_seg` (int32 (H, W) and segments, see `panoptic_inference`),
            `instances` (as `Detr`, with pred_masks), `sem_seg` (K, H, W).
        """
        images = self.preprocess(batched_inputs)
        detection = self.detect(images)
        keep = [self.needed_queries(logits).nonzero()[:, 0] for logits in detection.logits]
        masks = self.draw(detection, keep)
        canvas = images.tensor.shape[-2:]
        results = []
        for i, x in enumerate(batched_inputs):
            # What of the canvas is taken for the image: all, where padding is not cropped. Images
            # of one size have none.
            seen = images.image_sizes[i] if self.postprocess.crop_padding else canvas
            sizes = (canvas, seen, images.image_sizes[i], output_size(x))
            results.append(self._outputs(detection, i, keep[i], masks[i].float(), sizes))
        return results

    def needed_queries(self, logits: Tensor) -> Tensor:
        """Which of the queries with logits (Q, K + 1) some output needs: bool (Q,)."""
        scores, classes, is_object = best_classes(logits)
        needed = torch.zeros_like(is_object)
        if self.panoptic_on or self.sem_seg_on:
            needed |= is_object & (scores > self.score_thresh)
        if self.instance_on:
            needed |= self.instance_queries(scores, classes)
        return needed

    def _outputs(
        self,
        detection: Detection,
        i: int,
        keep: Tensor,
        masks: Tensor,
        sizes: tuple[Size, Size, Size, Size],
    ) -> dict:
        """Outputs of image i; `sizes` are the canvas, the part of it that is seen, the image as the
        network had it, and the photo."""
        canvas, seen, image_size, size = sizes
        logits, boxes = detection.logits[i, keep], detection.boxes[i, keep]
        scores, classes, is_object = best_classes(logits)
        segments = is_object & (scores > self.score_thresh)
        photo_masks = unpad_and_resize(masks, canvas, seen, size)
        result: dict = {}
        if self.panoptic_on:
            rival_masks = photo_masks[segments]
            if self.postprocess.resize == "ids":
                rival_masks = unpad_and_resize(masks[segments], canvas, seen, image_size)
            result["panoptic_seg"] = panoptic_inference(
                rival_masks,
                scores[segments],
                classes[segments],
                thing_ids=self.thing_ids,
                min_area=self.min_area,
                unite_stuff=self.postprocess.unite_stuff,
                size=size,
            )
        if self.instance_on:
            things = self.instance_queries(scores, classes)
            result["instances"] = instance_inference(
                boxes[things], scores[things], classes[things], size, photo_masks[things]
            )
        if self.sem_seg_on:
            probabilities = logits[segments].float().softmax(-1)[:, :-1]
            result["sem_seg"] = semantic_inference(photo_masks[segments], probabilities)
        return result

    @torch.no_grad()
    def raw_outputs(self, batched_inputs: list[dict]) -> DetrOutputs:
        """As `Detr.raw_outputs`, with attention and the masks of all queries."""
        images = self.preprocess(batched_inputs)
        detection = self.detect(images)
        outputs = self.describe(images, detection)
        outputs.attention = self.attend(detection)
        everything = torch.arange(outputs.logits.shape[1], device=self.device)
        outputs.masks = torch.stack(self.draw(detection, [everything] * len(batched_inputs)))
        return outputs
