"""Numbers of a recorded pass that answer the questions and refute the misunderstandings."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from detr_d2.explanation.capture import Trace
from detr_d2.explanation.merge import MergeStep
from detr_d2.modeling import BBoxAttention, Detr, FPNMaskHead, PanopticDetr
from detr_d2.ops.masks import Size


def shape_text(values: Sequence[int] | Tensor) -> str:
    """A shape as readers write it: "256 x 25 x 34"."""
    shape = values.shape if isinstance(values, Tensor) else values
    return " x ".join(str(size) for size in shape)


def transformer_facts(model: Detr, trace: Trace) -> dict[str, Any]:
    """Facts that every model has."""
    projected, encoded = trace.get("projected").float(), trace.get("encoded").float()
    height, width = projected.shape[-2:]
    return {
        "d": projected.shape[0],
        "queries": len(trace.get("logits")),
        "cells": height * width,
        "network_size": shape_text(trace.get("images").shape[-2:]),
        "res5_shape": shape_text(trace.get(model.in_feature)),
        "res5_channels": trace.get(model.in_feature).shape[0],
        "projected_shape": shape_text(projected),
        "embeddings_shape": shape_text(trace.get("embeddings")),
        "encoder_layers": len(trace.encoder),
        "encoder_change": ((encoded - projected).norm() / projected.norm()).item(),
        "encoder_cosine": torch.cosine_similarity(encoded, projected, dim=0).mean().item(),
    }


def attention_facts(model: PanopticDetr, trace: Trace, query: int | None) -> dict[str, Any]:
    """Facts of the bbox attention; sums are those of one query, if there is one."""
    attention = trace.get("bbox_attention")
    facts: dict[str, Any] = {
        "bbox_attention_shape": shape_text(attention),
        "maps": attention.shape[1],
        "attention_max": attention.max().item(),
        "attention_parameters": ", ".join(
            f"`{name}`" for name, _ in model.bbox_attention.named_parameters()
        ),
    }
    if isinstance(model.bbox_attention, BBoxAttention):
        facts["normalize"] = model.bbox_attention.normalize
    if query is not None:
        sums = attention[query].float().sum((1, 2))
        facts["joint_sum"] = sums.sum().item()
        facts["head_sums"] = ", ".join(f"{value:.2f}" for value in sums.tolist())
    return facts


def head_facts(model: PanopticDetr, trace: Trace) -> dict[str, Any]:
    """Facts of the FPN mask head; none of another head."""
    head = model.mask_head
    if not isinstance(head, FPNMaskHead):
        return {}
    weights = [conv.weight for conv in head.convs]
    laterals = [adapter.weight.shape for adapter in head.adapters]
    sizes = [trace.get("projected").shape[-2:]] * 2 + [x.shape[-2:] for x in trace.head_features]
    return {
        "concat_channels": weights[0].shape[1],
        "stage_channels": " -> ".join(
            [
                str(weights[0].shape[1]),
                *(str(len(w)) for w in weights),
                str(len(head.output.weight)),
            ]
        ),
        "stage_sizes": " -> ".join(shape_text(size) for size in sizes),
        "added_channels": ", ".join(str(out) for out, *_ in laterals),
        "concatenated_channels": ", ".join(f"{out} + {channels}" for out, channels, *_ in laterals),
        "last_channels": len(head.output.weight),
        "last_weight_shape": shape_text(head.output.weight),
    }


def merge_facts(
    steps: Sequence[MergeStep], kept_masks: Tensor, segments: Sequence[Any]
) -> dict[str, Any]:
    """Facts of the merge.

    Args:
        steps: every argmax.
        kept_masks: logits (q, H, W) of the queries above the threshold.
        segments: of the panoptic map.
    """
    covering = (kept_masks > 0).sum(0)
    moved = 0
    if steps and steps[0].winner is not None and steps[-1].winner is not None:
        moved = int((steps[0].winner != steps[-1].winner).sum())
    return {
        "above_threshold": len(kept_masks),
        "dropped": sum(len(step.dropped) for step in steps),
        "reassigned_pixels": moved,
        "segments": len(segments),
        "overlap_share": (covering > 1).float().mean().item(),
        "uncovered_share": (covering == 0).float().mean().item(),
    }


@torch.no_grad()
def batch_shapes(model: PanopticDetr, sizes: Sequence[Size]) -> list[tuple[str, str]]:
    """Run the model on images of these sizes, padded to one batch.

    Args:
        model: in evaluation mode, with an `FPNMaskHead`.
        sizes: (height, width) of each image, pixels.

    Returns:
        Name and shape of each tensor, in the order of the walk. The first axis counts the images;
        after the concatenation, where every query runs alone, shapes are those of one query.
    """
    head = model.mask_head
    assert isinstance(head, FPNMaskHead), "only this head's stages are known"
    images = model.preprocess([{"image": torch.zeros(3, *size)} for size in sizes])
    state = model.forward_detr(images)
    attention = model.attend(state)
    inside: dict[str, str] = {}
    with ExitStack() as hooks:
        for number, norm in enumerate(head.norms, start=1):
            hooks.callback(_note(norm, inside, f"after convolution {number}").remove)
        for name, adapter in zip(model.mask_features, head.adapters, strict=True):
            hooks.callback(_note(adapter, inside, f"{name.capitalize()}, projected").remove)
        masks = model.predict_masks(state, [torch.zeros(1, dtype=torch.int64)] * len(sizes))
    concat = (*attention.shape[:2], head.convs[0].in_channels, *attention.shape[3:])
    return [
        ("image", shape_text(images.tensor)),
        *((name.capitalize(), shape_text(x)) for name, x in state.features.items()),
        ("projected image", shape_text(state.projected)),
        ("encoded image", shape_text(state.encoded_image)),
        ("box embeddings", shape_text(state.box_embeddings)),
        ("class logits", shape_text(state.logits)),
        ("boxes", shape_text(state.boxes)),
        ("bbox attention", shape_text(attention)),
        ("concatenation", shape_text(concat)),
        *inside.items(),
        ("mask logits", shape_text(masks[0][0])),
    ]


def _note(module: nn.Module, shapes: dict[str, str], name: str) -> RemovableHandle:
    """Write down the shape of a module's output for one query or image."""
    return module.register_forward_hook(
        lambda _, __, output: shapes.__setitem__(name, shape_text(output[0]))
    )
