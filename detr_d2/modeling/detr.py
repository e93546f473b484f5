"""DETR for boxes of things and stuff (arXiv:2005.12872); only wires. Legend: `forward_state.py`."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone
from detectron2.structures import ImageList
from torch import Tensor, nn

from detr_d2.compat import put_scalars
from detr_d2.modeling.backbone import PIXEL_MEAN, PIXEL_STD, fold_norms
from detr_d2.modeling.box_head import BoxHead, predict_classes
from detr_d2.modeling.class_metadata import check_thing_ids, class_names_of, classes_of
from detr_d2.modeling.criterion import SetCriterion, metrics
from detr_d2.modeling.forward_state import ForwardState, output_size
from detr_d2.modeling.matcher import Targets
from detr_d2.modeling.padding import batch_images, build_eraser, erase_padding, group_by_size
from detr_d2.modeling.position_encoding import check_channels, sine_position_encoding
from detr_d2.modeling.postprocess import PostProcess
from detr_d2.modeling.reference_points import ReferencePoints
from detr_d2.modeling.transformer import Transformer
from detr_d2.ops.masks import padding_mask


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
        num_classes: int,
        postprocess: PostProcess,
        transformer: Transformer | None = None,
        criterion: SetCriterion | None = None,
        num_queries: int = 100,
        query_groups: int = 1,
        reference_points: bool = False,
        in_feature: str = "res5",
        position_temperature: float = 10000.0,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
        class_names: tuple[str, ...] = (),
        fold_frozen_norms: bool = True,
        bf16_inference: bool = False,
        erase_padding: bool = False,
    ) -> None:
        """
        Args:
            backbone: gives in_feature, whose stride is that of the encoded image.
            num_classes: K, things and stuff.
            postprocess: makes the outputs of inference.
            transformer: encoder and decoder of d channels; None is that of DETR R-50.
            criterion: matches and computes the losses; None is that of DETR.
            num_queries: Q.
            query_groups: G groups of Q queries learn side by side; only the first one is kept.
            reference_points: see `reference_points.py`; False as published.
            in_feature: name of the feature that the transformer reads.
            position_temperature: see `sine_position_encoding`.
            pixel_mean, pixel_std: per channel, in the order and units of the mapper's images.
            class_names: names of the K classes, kept with the weights; empty if unknown.
            fold_frozen_norms: see `FoldedConv2d`; equal but for rounding.
            bf16_inference: infer in bfloat16 where the result allows it, as autocast decides;
                boxes, scores and what comes after the masks stay in float32.
            erase_padding: see `padding.py`; False as published.

        Raises:
            ValueError: a thing class is none of the K, the position encoding cannot have d
                channels, there are no queries, or padding is to be erased and shown.
        """
        super().__init__()
        check_thing_ids(postprocess.thing_ids, num_classes)
        self.eraser = build_eraser(backbone, postprocess.crop_padding) if erase_padding else None
        if fold_frozen_norms:
            fold_norms(backbone)
        self.bf16_inference = bf16_inference
        # Channels last: the same numbers, and convolutions a third faster.
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.in_feature = in_feature
        self.transformer = transformer or Transformer()
        hidden_dim = self.transformer.hidden_dim
        check_channels(hidden_dim)
        self.position_temperature = position_temperature
        feature = backbone.output_shape()[in_feature]
        self.stride = feature.stride
        self.input_proj = nn.Conv2d(feature.channels, hidden_dim, 1)
        self._add_queries(num_queries, query_groups, reference_points)
        self.box_head = BoxHead(hidden_dim=hidden_dim, num_classes=num_classes)
        self.num_classes = num_classes
        self.class_names = class_names
        self.criterion = criterion or SetCriterion()
        self.postprocess = postprocess
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    def _add_queries(self, count: int, groups: int, reference_points: bool) -> None:
        for name, value in (("NUM_QUERIES", count), ("QUERY_GROUPS", groups)):
            if value < 1:
                raise ValueError(f"MODEL.DETR.{name} is {value}, must be an integer from 1")
        hidden_dim = self.transformer.hidden_dim
        self.query_embed = nn.Embedding(count, hidden_dim)
        # Apart from the first group, so that a model without groups loads the same checkpoint.
        self.extra_queries = nn.ParameterList(
            nn.Parameter(torch.randn(count, hidden_dim)) for _ in range(groups - 1)
        )
        self.reference_points: ReferencePoints | None = None
        if reference_points:
            self.reference_points = ReferencePoints(hidden_dim, self.position_temperature)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        detr = cfg.MODEL.DETR
        num_classes, _ = classes_of(cfg)
        return {
            "backbone": build_backbone(cfg),
            "transformer": Transformer(cfg),
            "num_classes": num_classes,
            "num_queries": detr.NUM_QUERIES,
            "query_groups": detr.QUERY_GROUPS,
            "reference_points": detr.REFERENCE_POINTS,
            "position_temperature": detr.POSITION_TEMPERATURE,
            "class_names": class_names_of(cfg, num_classes),
            "criterion": SetCriterion(cfg),
            "postprocess": PostProcess(cfg),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "fold_frozen_norms": detr.FOLD_FROZEN_NORMS,
            "bf16_inference": detr.BF16_INFERENCE,
            "erase_padding": detr.ERASE_PADDING,
        }

    @property
    def device(self) -> torch.device:
        """Where the model lives; images are moved there."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Detectron2's contract: inputs of the mapper in, losses (training) or outputs out.

        Returns:
            In training a dictionary of weighted losses. Otherwise one dictionary per image; see
            `PostProcess`.
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
        """Which inputs run together at inference: those that see no padding of each other."""
        if self.eraser:
            return [list(range(len(batched_inputs)))]
        return group_by_size(batched_inputs)

    def preprocess(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise the images and pad them to a common size with zeros, the mean colour."""
        return batch_images(batched_inputs, self.pixel_mean, self.pixel_std)

    def forward_detr(self, images: ImageList) -> ForwardState:
        """Run backbone, transformer and box head."""
        image_sizes = [tuple(size) for size in images.image_sizes]
        padded_size = tuple(images.tensor.shape[-2:])
        erase = self.eraser.images(image_sizes, padded_size) if self.eraser else nullcontext()
        with erase:
            features = self.backbone(images.tensor)
        projected = self.input_proj(features[self.in_feature])
        if self.eraser:
            projected = erase_padding(projected, image_sizes, padded_size)
        padding = padding_mask(image_sizes, projected.shape[-2:], self.stride, self.device)
        position = sine_position_encoding(
            padding, projected.shape[1], self.position_temperature
        ).to(projected.dtype)
        # Further groups only teach the transformer: not at inference, nor while it is frozen.
        queries = [self.query_embed.weight]
        if self.transformer.training:
            queries += self.extra_queries
        places, points = torch.stack(queries), None
        if self.reference_points:
            places, points = self.reference_points(places)
        embeddings, encoded = self.transformer(projected, padding, places, position)
        with torch.autocast(self.device.type, enabled=False):
            # In 16 bits a box is off by pixels: bfloat16 cannot tell 0.996 from 1.
            logits, boxes = self.box_head(embeddings.to(self.query_embed.weight.dtype), points)
        return ForwardState(
            image_sizes=image_sizes,
            padded_size=padded_size,
            features=features,
            projected=projected,
            padding=padding,
            encoded_image=encoded,
            box_embeddings=embeddings[0, -1],
            all_logits=logits,
            all_boxes=boxes,
            mask_extents=image_sizes if self.eraser else [padded_size] * len(image_sizes),
        )

    def losses(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        """Weighted class and box losses; errors for the log go to the event storage."""
        state = self.forward_detr(self.preprocess(batched_inputs))
        targets = self.targets(batched_inputs, with_masks=False)
        losses, matching = self.criterion.group_losses(state.all_logits, state.all_boxes, targets)
        put_scalars(metrics(state.logits, targets, matching))
        return losses

    def targets(self, batched_inputs: list[dict], *, with_masks: bool) -> Targets:
        """Objects of the batch; the mapper puts them under "instances"."""
        return Targets.from_inputs(batched_inputs, self.device, self.num_classes, with_masks)

    def inference(self, batched_inputs: list[dict]) -> list[dict]:
        """Run images that `inference_groups` put together; outputs as `PostProcess` says."""
        bf16 = torch.autocast(self.device.type, torch.bfloat16)
        with bf16 if self.bf16_inference else nullcontext():
            state = self.forward_detr(self.preprocess(batched_inputs))
            classes = [predict_classes(logits) for logits in state.logits]
            keep = [self.postprocess.needed_queries(x).nonzero()[:, 0] for x in classes]
            masks = self.predict_masks(state, keep)
        return [
            self.postprocess(
                classes[i].select(keep[i]),
                state.boxes[i, keep[i]],
                masks[i],
                state.sizes(i, output_size(x)),
            )
            for i, x in enumerate(batched_inputs)
        ]

    def predict_masks(self, state: ForwardState, queries: list[Tensor]) -> Sequence[Tensor | None]:
        """Predict the masks of chosen queries of each image; this model has none."""
        return [None] * len(queries)

    @torch.no_grad()
    def raw_outputs(self, batched_inputs: list[dict]) -> ForwardState:
        """Everything the model computes, for all queries and without any threshold.

        Args:
            batched_inputs: dictionaries with "image", uint8 or float (3, H, W); images of
                different sizes are padded to a common size.
        """
        return self.forward_detr(self.preprocess(batched_inputs))
