"""DETR with masks: bbox attention and FPN mask head on top of `Detr` (DETR paper, section 4.4)."""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Required, TypedDict, Unpack

from detr_d2.compat import put_scalars
from detr_d2.modeling.bbox_attention import BBOX_ATTENTION_REGISTRY, BBoxAttention
from detr_d2.modeling.criterion import SetCriterion, metrics
from detr_d2.modeling.detr import Detr
from detr_d2.modeling.forward_state import ForwardState
from detr_d2.modeling.mask_head import MASK_HEAD_REGISTRY, FPNMaskHead
from detr_d2.modeling.padding import own_cells
from detr_d2.modeling.postprocess import PostProcess
from detr_d2.modeling.transformer import Transformer


class DetrArguments(TypedDict, total=False):
    """Arguments of `Detr`, which says what they are and has the defaults."""

    backbone: Required[Backbone]
    num_classes: Required[int]
    postprocess: Required[PostProcess]
    transformer: Transformer | None
    criterion: SetCriterion | None
    num_queries: int
    query_groups: int
    reference_points: bool
    in_feature: str
    position_temperature: float
    pixel_mean: Sequence[float]
    pixel_std: Sequence[float]
    class_names: tuple[str, ...]
    fold_frozen_norms: bool
    bf16_inference: bool
    erase_padding: bool


@META_ARCH_REGISTRY.register()
class PanopticDetr(Detr):
    """Adds one mask per query; gives `panoptic_seg`, `instances` with masks, and `sem_seg`.

    The parameters of `Detr` keep their names, so a checkpoint of the box stage loads as it is.
    """

    @configurable
    def __init__(
        self,
        *,
        bbox_attention: nn.Module | None = None,
        mask_head: nn.Module | None = None,
        mask_features: Sequence[str] = ("res4", "res3", "res2"),
        freeze: bool = False,
        **detr: Unpack[DetrArguments],
    ) -> None:
        """
        Args:
            bbox_attention, mask_head: see their registries for the contracts; None are those of the
                paper, for the transformer's channels.
            mask_features: backbone features for the mask head, coarse to fine.
            freeze: DETR stays in evaluation mode and gets no gradient; only mask losses are left.
            detr: the arguments of `Detr`.

        Raises:
            ValueError: frozen, but both mask losses are off; and as `Detr`.
        """
        super().__init__(**detr)
        if freeze and not self.criterion.needs_masks:
            raise ValueError(
                "MODEL.DETR.FREEZE leaves the mask losses alone, but FOCAL_WEIGHT and DICE_WEIGHT "
                "are both 0: nothing would learn"
            )
        self.freeze = freeze
        if freeze:
            self.requires_grad_(False)
        hidden_dim, shapes = self.transformer.hidden_dim, self.backbone.output_shape()
        self.bbox_attention = bbox_attention or BBoxAttention(hidden_dim=hidden_dim)
        self.mask_head = mask_head or FPNMaskHead(
            hidden_dim=hidden_dim,
            num_maps=self.bbox_attention.num_maps,
            feature_channels=[shapes[name].channels for name in mask_features],
        )
        self.mask_features = list(mask_features)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        detr = cfg.MODEL.DETR
        arguments = super().from_config(cfg)
        attention = BBOX_ATTENTION_REGISTRY.get(detr.BBOX_ATTENTION.NAME)(cfg)
        mask_head = MASK_HEAD_REGISTRY.get(detr.MASK_HEAD.NAME)
        return arguments | {
            "bbox_attention": attention,
            "mask_head": mask_head(cfg, arguments["backbone"].output_shape(), attention.num_maps),
            "mask_features": detr.MASK_HEAD.IN_FEATURES,
            "freeze": detr.FREEZE,
        }

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
            state = self.forward_detr(images)
        with_masks = self.criterion.needs_masks
        targets = self.targets(batched_inputs, with_masks=with_masks)
        losses: dict[str, Tensor] = {}
        if self.freeze:
            last = (state.all_logits[0, -1:], state.all_boxes[0, -1:])
            matching = self.criterion.matcher(*last, targets)
        else:
            losses, matching = self.criterion.group_losses(
                state.all_logits, state.all_boxes, targets
            )
        put_scalars(metrics(state.logits, targets, matching))
        if not with_masks:
            return losses
        selected = self.criterion.select(state.logits, matching)
        per_image = [selected.query[0, selected.image == i] for i in range(len(batched_inputs))]
        masks = self.predict_masks(state, per_image)
        with torch.autocast(self.device.type, enabled=False):
            return losses | self.criterion.mask_losses(masks, targets, selected, state.mask_extents)

    def predict_masks(self, state: ForwardState, queries: list[Tensor]) -> list[Tensor]:
        """Run the mask head on chosen queries only.

        Args:
            queries: N index tensors (Q_i,), the queries wanted of each image.

        Returns:
            N tensors (Q_i, ., .) of mask logits over the `mask_extents`, a quarter of their size.
        """
        attention = self.attend(state)
        chosen = [attention[i, rows] for i, rows in enumerate(queries)]
        features = [state.features[name] for name in self.mask_features]
        if all(extent == state.padded_size for extent in state.mask_extents):
            return self.mask_head(state.projected, chosen, features)
        # Each image on its own cells, so that GroupNorm and the borders are those it has alone.
        return [
            self.mask_head(
                _crop(state, i, state.projected[i : i + 1]),
                [_crop(state, i, maps)],
                [_crop(state, i, feature[i : i + 1]) for feature in features],
            )[0]
            for i, maps in enumerate(chosen)
        ]

    def attend(self, state: ForwardState) -> Tensor:
        """Attention maps of all queries, (N, Q, M, h, w)."""
        return self.bbox_attention(state.box_embeddings, state.encoded_image, state.padding)

    def inference_groups(self, batched_inputs: list[dict]) -> list[list[int]]:
        """As `Detr`, but for the published post-processing the whole batch, padded."""
        if self.postprocess.crop_padding:
            return super().inference_groups(batched_inputs)
        return [list(range(len(batched_inputs)))]

    @torch.no_grad()
    def raw_outputs(self, batched_inputs: list[dict]) -> ForwardState:
        """As `Detr.raw_outputs`, with attention and the masks of all queries."""
        state = super().raw_outputs(batched_inputs)
        state.attention = self.attend(state)
        everything = torch.arange(state.logits.shape[1], device=self.device)
        masks = self.predict_masks(state, [everything] * len(batched_inputs))
        height, width = state.features[self.mask_features[-1]].shape[-2:]
        state.masks = torch.stack(
            [F.pad(m, (0, width - m.shape[-1], 0, height - m.shape[-2])) for m in masks]
        )
        return state


def _crop(state: ForwardState, i: int, x: Tensor) -> Tensor:
    """Cut features (., ., h, w) of the padded batch to the cells of image i."""
    height, width = own_cells(state.image_sizes[i], state.padded_size, (x.shape[-2], x.shape[-1]))
    return x[..., :height, :width]
