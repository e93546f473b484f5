"""Names and shapes of the published DETR R-50 checkpoints, written down apart from the package.

They follow from the published model: torchvision's ResNet-50 with frozen batch norm under
`backbone.0.body`, torch's attention modules under `transformer`, and the heads.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

Shape = tuple[int, ...]


def box_shapes(rows: int = 92) -> Iterator[tuple[str, Shape]]:
    """Of `detr-r50-e632da11.pth`."""
    yield from resnet_shapes("backbone.0.body.")
    for part, layers in (("encoder", 6), ("decoder", 6)):
        for i in range(layers):
            yield from _layer(f"transformer.{part}.layers.{i}.", part == "decoder")
    yield from _weight_and_bias("transformer.decoder.norm", (256,))
    yield from _weight_and_bias("class_embed", (rows, 256))
    for i, out in enumerate((256, 256, 4)):
        yield from _weight_and_bias(f"bbox_embed.layers.{i}", (out, 256))
    yield "query_embed.weight", (100, 256)
    yield from _weight_and_bias("input_proj", (256, 2048, 1, 1))


def panoptic_shapes() -> Iterator[tuple[str, Shape]]:
    """Of `detr-r50-panoptic-00ce5173.pth`."""
    for name, shape in box_shapes(rows=251):
        yield f"detr.{name}", shape
    for name in ("q_linear", "k_linear"):
        yield from _weight_and_bias(f"bbox_attention.{name}", (256, 256))
    widths = [264, 264, 128, 64, 32, 16]
    for i, (into, out) in enumerate(pairwise(widths), 1):
        yield from _weight_and_bias(f"mask_head.lay{i}", (out, into, 3, 3))
        yield from _weight_and_bias(f"mask_head.gn{i}", (out,))
    yield from _weight_and_bias("mask_head.out_lay", (1, 16, 3, 3))
    for i, (into, out) in enumerate(((1024, 128), (512, 64), (256, 32)), 1):
        yield from _weight_and_bias(f"mask_head.adapter{i}", (out, into, 1, 1))


def resnet_shapes(prefix: str = "") -> Iterator[tuple[str, Shape]]:
    """Of torchvision's ResNet-50 without its classifier and its counters."""
    yield f"{prefix}conv1.weight", (64, 3, 7, 7)
    yield from _norm(f"{prefix}bn1", 64)
    into = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(blocks):
            here = f"{prefix}layer{stage}.{block}."
            convs = ((width, into, 1), (width, width, 3), (4 * width, width, 1))
            for i, (out, channels, kernel) in enumerate(convs, 1):
                yield f"{here}conv{i}.weight", (out, channels, kernel, kernel)
                yield from _norm(f"{here}bn{i}", out)
            if block == 0:
                yield f"{here}downsample.0.weight", (4 * width, into, 1, 1)
                yield from _norm(f"{here}downsample.1", 4 * width)
            into = 4 * width


def fill(shapes: Iterator[tuple[str, Shape]], seed: int = 0) -> dict[str, Tensor]:
    """Small random numbers; variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in shapes}
    for name, tensor in tensors.items():
        if name.endswith("running_var"):
            tensor.abs_().add_(0.5)
    return tensors


def _layer(prefix: str, is_decoder: bool) -> Iterator[tuple[str, Shape]]:
    for attention in ("self_attn", "multihead_attn")[: 1 + is_decoder]:
        yield f"{prefix}{attention}.in_proj_weight", (768, 256)
        yield f"{prefix}{attention}.in_proj_bias", (768,)
        yield from _weight_and_bias(f"{prefix}{attention}.out_proj", (256, 256))
    yield from _weight_and_bias(f"{prefix}linear1", (2048, 256))
    yield from _weight_and_bias(f"{prefix}linear2", (256, 2048))
    for i in range(1, 3 + is_decoder):
        yield from _weight_and_bias(f"{prefix}norm{i}", (256,))


def _weight_and_bias(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _norm(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
