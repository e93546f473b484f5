"""DETR for boxes of things and stuff (arXiv:2005.12872). This file only wires.

Legend: N images, Q queries, G sets of them, K classes, L decoder layers, d channels; (h, w) = size
of the last backbone feature (H/32, or H/16 with DC5); canvas = common padded size of a batch.
"""

from dataclasses import dataclass

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone
from detectron2.structures import ImageList
from torch import Tensor, nn

from ..compat import put_scalars
from ..ops.masks import Size, padding_mask
from . import build
from .box_head import BoxHead
from .criterion import SetCriterion, metrics
from .matcher import Matching
from .position_encoding import sine_position_encoding
from .postprocess import best_classes, instance_inference
from .targets import Targets
from .transformer import Transformer


@dataclass
class DetrOutputs:
    """Everything the model computes for a batch, before any threshold.

    Attributes:
        logits: (N, Q, K + 1), the last column "no object".
        boxes: (N, Q, 4), cxcywh as fractions of the unpadded image.
        encoded_image: (N, d, h, w), output of the transformer encoder.
        box_embeddings: (N, Q, d), output of the last decoder layer.
        padding: bool (N, h, w), True = padding.
        image_sizes: (height, width) of each image on the canvas, pixels.
        canvas: (height, width) of the padded batch, pixels.
        attention: (N, Q, M, h, w), bbox attention; None for the box model.
        masks: (N, Q, H/4, W/4), mask logits over the canvas; None for the box model.
    """

    logits: Tensor
    boxes: Tensor
    encoded_image: Tensor
    box_embeddings: Tensor
    padding: Tensor
    image_sizes: list[Size]
    canvas: Size
    attention: Tensor | None = None
    masks: Tensor | None = None


@dataclass
class Detection:
    """State of one forward pass.

    Attributes:
        features: backbone features (N, C, ., .) by name.
        projected, encoded_image: (N, d, h, w) before and after the transformer encoder.
        padding: bool (N, h, w).
        embeddings: (N, Q, d), last decoder layer.
        all_logits: (G, L, N, Q, K + 1) of all sets of queries and decoder layers.
        all_boxes: (G, L, N, Q, 4).
    """

    features: dict[str, Tensor]
    projected: Tensor
    padding: Tensor
    encoded_image: Tensor
    embeddings: Tensor
    all_logits: Tensor
    all_boxes: Tensor

    @property
    def logits(self) -> Tensor:
        """(N, Q, K + 1) of the last decoder layer."""
        return self.all_logits[0, -1]

    @property
    def boxes(self) -> Tensor:
        """(N, Q, 4) of the last decoder layer."""
        return self.all_boxes[0, -1]


@META_ARCH_REGISTRY.register()
class Detr(nn.Module):
    """Backbone, transformer and box head; gives `instances` of the thing classes."""

    pixel_mean: Tensor
    pixel_std: Tensor

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        in_feature: str,
        transformer: Transformer,
        hidden_dim: int,
        num_classes: int,
        num_queries: int,
        thing_ids: frozenset[int],
        criterion: SetCriterion,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
        position_temperature: float = 10000.0,
        query_groups: int = 1,
        instance_on: bool = True,
        instance_score_thresh: float = 0.0,
        class_names: tuple[str, ...] = (),
    ) -> None:
        """
        Args:
            backbone: gives in_feature, whose stride is that of the encoded image.
            in_feature: name of the feature that the transformer reads, "res5".
            transformer: encoder and decoder of d = hidden_dim channels.
            num_classes: K, things and stuff.
            num_queries: Q.
            thing_ids: contiguous ids of the thing classes, a subset of range(K).
            criterion: matches and computes the losses.
            pixel_mean, pixel_std: per channel, in the order and units of the mapper's images.
            query_groups: G sets of Q queries learn side by side; only the first one is kept.
            position_temperature: see `sine_position_encoding`.
            instance_on: give `instances` at inference.
            instance_score_thresh: only of queries above this score.
            class_names: names of the K classes, kept with the weights; empty if unknown.
        """
        super().__init__()
        # Channels last: the same numbers, and convolutions a third faster.
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.in_feature = in_feature
        feature = backbone.output_shape()[in_feature]
        self.stride = feature.stride
        self.input_proj = nn.Conv2d(feature.channels, hidden_dim, 1)
        self.transformer = transformer
        self.query_embed = nn.Embedding(num_queries, hidden_dim)
        # Apart from the first set, so that a model without groups loads the same checkpoint.
        self.extra_queries = nn.ParameterList(
            nn.Parameter(torch.randn(num_queries, hidden_dim)) for _ in range(query_groups - 1)
        )
        self.box_head = BoxHead(hidden_dim=hidden_dim, num_classes=num_classes)
        self.num_classes = num_classes
        self.thing_ids = thing_ids
        self.class_names = class_names
        self.criterion = criterion
        self.position_temperature = position_temperature
        self.instance_on = instance_on
        self.instance_score_thresh = instance_score_thresh
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return build.detr_arguments(cfg, build_backbone(cfg))

    @property
    def device(self) -> torch.device:
        """Where the model lives; images are moved there."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Detectron2's contract: inputs of the mapper in, losses (training) or outputs out.

        Returns:
            In training a dictionary of weighted losses. Otherwise one dictionary per image; see
            `inference`.
        """
        if self.training:
            return self.losses(batched_inputs)
        results: list[dict] = [{} for _ in batched_inputs]
        for group in self.inference_groups(batched_inputs):
            outputs = self.inference([batched_inputs[i] for i in group])
            for i, output in zip(group, outputs, strict=True):
                results[i] = output
        return results

    def inference_groups(self, batched_inputs: list[dict]) -> list[list[int]]:
        """Which inputs run together at inference: those of one size, so that none is padded."""
        return group_by_size(batched_inputs)

    def preprocess(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise the images and pad them to a common canvas with zeros, the mean colour."""
        images = [x["image"].to(self.device) for x in batched_inputs]
        images = [(image - self.pixel_mean) / self.pixel_std for image in images]
        images = [image.to(self.pixel_mean.dtype) for image in images]
        batch = ImageList.from_tensors(images)
        batch.tensor = batch.tensor.contiguous(memory_format=torch.channels_last)
        return batch

    def detect(self, images: ImageList) -> Detection:
        """Run backbone, transformer and box head."""
        features = self.backbone(images.tensor)
        projected = self.input_proj(features[self.in_feature])
        padding = padding_mask(
            images.image_sizes, projected.shape[-2:], self.stride, projected.device
        )
        position = sine_position_encoding(
            padding, projected.shape[1], self.position_temperature
        ).to(projected.dtype)
        # The further sets only teach the transformer: not at inference, nor while it is frozen.
        queries = [self.query_embed.weight]
        if self.transformer.training:
            queries += self.extra_queries
        embeddings, encoded = self.transformer(projected, padding, torch.stack(queries), position)
        with torch.autocast(self.device.type, enabled=False):
            # In 16 bits a box is off by pixels: bfloat16 cannot tell 0.996 from 1.
            logits, boxes = self.box_head(embeddings.to(self.query_embed.weight.dtype))
        last = embeddings[0, -1]
        return Detection(features, projected, padding, encoded, last, logits, boxes)

    def losses(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        """Weighted class and box losses; errors for the log go to the event storage."""
        images = self.preprocess(batched_inputs)
        detection = self.detect(images)
        targets = self.targets(batched_inputs, with_masks=False)
        losses, matching = self.box_losses(detection, targets)
        put_scalars(metrics(detection.logits, targets, matching))
        return losses

    def box_losses(
        self, detection: Detection, targets: Targets
    ) -> tuple[dict[str, Tensor], Matching]:
        """Mean over the sets of queries, each matched on its own; the matching of the first."""
        with torch.autocast(self.device.type, enabled=False):
            pairs = zip(detection.all_logits, detection.all_boxes, strict=True)
            groups = [self.criterion.box_losses(*pair, targets) for pair in pairs]
        losses = groups[0][0]
        for others, _ in groups[1:]:
            losses = {name: value + others[name] for name, value in losses.items()}
        return {name: value / len(groups) for name, value in losses.items()}, groups[0][1]

    def targets(self, batched_inputs: list[dict], *, with_masks: bool) -> Targets:
        """Objects of the batch; the mapper puts them under "instances"."""
        return Targets.from_inputs(batched_inputs, self.device, self.num_classes, with_masks)

    def inference(self, batched_inputs: list[dict]) -> list[dict]:
        """Detect in images of one size.

        Returns:
            One dictionary per image, with `instances`: pred_boxes, scores, pred_classes of the
            thing queries above the threshold, at the size of the photo (`height`, `width`).
        """
        detection = self.detect(self.preprocess(batched_inputs))
        results = []
        for i, x in enumerate(batched_inputs):
            size = output_size(x)
            scores, classes, _ = best_classes(detection.logits[i])
            keep = self.instance_queries(scores, classes)
            boxes = detection.boxes[i, keep]
            results.append(
                {"instances": instance_inference(boxes, scores[keep], classes[keep], size)}
                if self.instance_on
                else {}
            )
        return results

    def instance_queries(self, scores: Tensor, classes: Tensor) -> Tensor:
        """Which queries become instances: bool (Q,)."""
        # With its type, for a data set without things.
        things = torch.tensor(sorted(self.thing_ids), dtype=torch.int64, device=classes.device)
        return torch.isin(classes, things) & (scores > self.instance_score_thresh)

    @torch.no_grad()
    def raw_outputs(self, batched_inputs: list[dict]) -> DetrOutputs:
        """Everything the model computes, for all queries and without any threshold.

        Args:
            batched_inputs: dictionaries with "image", uint8 or float (3, H, W); images of
                different sizes are padded to one canvas.
        """
        images = self.preprocess(batched_inputs)
        return self.describe(images, self.detect(images))

    def describe(self, images: ImageList, detection: Detection) -> DetrOutputs:
        """Collect the public outputs of a forward pass."""
        return DetrOutputs(
            logits=detection.logits,
            boxes=detection.boxes,
            encoded_image=detection.encoded_image,
            box_embeddings=detection.embeddings,
            padding=detection.padding,
            image_sizes=[tuple(size) for size in images.image_sizes],
            canvas=tuple(images.tensor.shape[-2:]),
        )


def group_by_size(batched_inputs: list[dict]) -> list[list[int]]:
    """Indices of the inputs, in groups of equal image size.

    Convolutions see padding (at the image border of every layer, and in GroupNorm's statistics),
    so only a group without padding gives each image the result it would have alone.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, x in enumerate(batched_inputs):
        groups.setdefault(tuple(x["image"].shape), []).append(i)
    return list(groups.values())


def output_size(x: dict) -> Size:
    """Size of the photo that the outputs of an input are for; the image's own by default."""
    height, width = x["image"].shape[-2:]
    return x.get("height", height), x.get("width", width)
