"""Shapes of all tensors of a batch, found by running the model."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from detr_d2.explanation.facts import shape_text
from detr_d2.modeling import FPNMaskHead, PanopticDetr
from detr_d2.ops.masks import Size


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
