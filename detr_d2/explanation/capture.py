"""Record one forward pass: every tensor between the image and the masks.

Forward hooks collect what the modules of the model take and give, so the model itself knows nothing
of it: nothing is slower when nobody records, and the outputs are bit-equal with and without.

Legend: d channels, (h, w) = size of the encoded image, S = h * w cells, L layers, A heads,
M bbox attention maps, Q queries, K classes.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detr_d2.modeling import Detr, FPNMaskHead, PanopticDetr


@dataclass
class AttentionCall:
    """Inputs of one call of `nn.MultiheadAttention`, from which its weights follow.

    Attributes:
        module: the attention.
        query: (N, T, d); key: (N, S, d), positions added.
        padding: bool (N, S), True = this key is ignored; None ignores none.
    """

    module: nn.MultiheadAttention
    query: Tensor
    key: Tensor
    padding: Tensor | None

    def projections(self) -> tuple[Tensor, Tensor]:
        """Queries (N, A, T, d / A), divided by sqrt(d / A), and keys (N, A, S, d / A)."""
        weights = cast(Tensor, self.module.in_proj_weight).detach().to(self.query).chunk(3)
        biases = cast(Tensor, self.module.in_proj_bias).detach().to(self.query).chunk(3)
        heads = self.module.num_heads
        query, key = (
            F.linear(x, weight, bias).unflatten(2, (heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((self.query, self.key), weights[:2], biases[:2], strict=True)
        )
        return query / query.shape[-1] ** 0.5, key

    def weights(self, targets: list[int] | slice = slice(None)) -> Tensor:
        """Softmax weights of every head, (N, A, T, S), as `need_weights=True` would give them.

        Args:
            targets: which of the T. All of an encoder are the square of its cells in every head.
        """
        query, key = self.projections()
        logits = query[:, :, targets] @ key.transpose(-2, -1)
        if self.padding is not None:
            logits = logits.masked_fill(self.padding[:, None, None], float("-inf"))
        return logits.softmax(-1)


@dataclass
class Trace:
    """Everything of one forward pass of a batch of N images; None and empty before it.

    Attributes:
        images: (N, 3, H, W), normalised and padded.
        features: backbone features by name, (N, C, ., .).
        projected, position, encoded: (N, d, h, w).
        padding: bool (N, h, w), True = padding.
        queries: (Q, d), the learned query embeddings.
        embeddings: (N, Q, d), the output of the last decoder layer.
        logits: (N, Q, K + 1); boxes: (N, Q, 4), cxcywh as fractions of the image.
        layer_logits, layer_boxes: (N, L, Q, ...), the same after every decoder layer.
        encoder, decoder_self, decoder_cross: one call a layer.
        bbox_attention: (N, Q, M, h, w); None for the box model.
        head_features: what the mask head got of the backbone, coarse to fine.
    """

    images: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    projected: Tensor | None = None
    position: Tensor | None = None
    encoded: Tensor | None = None
    padding: Tensor | None = None
    queries: Tensor | None = None
    embeddings: Tensor | None = None
    logits: Tensor | None = None
    boxes: Tensor | None = None
    layer_logits: Tensor | None = None
    layer_boxes: Tensor | None = None
    encoder: list[AttentionCall] = field(default_factory=list)
    decoder_self: list[AttentionCall] = field(default_factory=list)
    decoder_cross: list[AttentionCall] = field(default_factory=list)
    bbox_attention: Tensor | None = None
    head_features: list[Tensor] = field(default_factory=list)

    def get(self, name: str) -> Tensor:
        """Return a tensor of the first image, without the batch dimension.

        Raises:
            ValueError: the pass had none of this name.
        """
        value = self.features.get(name) if name in self.features else getattr(self, name)
        if value is None:
            raise ValueError(f"the recorded pass has no {name!r}")
        return value if name == "queries" else value[0]

    def cpu(self) -> "Trace":
        """Copy everything to the CPU, in float32."""

        def move(x: Any) -> Any:
            if isinstance(x, Tensor):
                return x.detach().cpu().float() if x.is_floating_point() else x.detach().cpu()
            if isinstance(x, AttentionCall):
                return AttentionCall(x.module, move(x.query), move(x.key), move(x.padding))
            if isinstance(x, dict):
                return {name: move(value) for name, value in x.items()}
            return [move(value) for value in x] if isinstance(x, list) else x

        return Trace(**{f.name: move(getattr(self, f.name)) for f in fields(self)})


@contextmanager
def record(model: Detr) -> Iterator[Trace]:
    """Record the forward passes within; of several the last one.

    Args:
        model: `Detr` or `PanopticDetr`, in evaluation mode.

    Raises:
        ValueError: the model is another one, or it is training.
    """
    if not isinstance(model, Detr):
        raise ValueError(f"can explain Detr and PanopticDetr, not {type(model).__name__}")
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    trace = Trace()
    with ExitStack() as hooks:
        for handle in [*_hook_detr(model, trace), *_hook_masks(model, trace)]:
            hooks.callback(handle.remove)
        yield trace


def _hook_detr(model: Detr, trace: Trace) -> Iterator[Any]:
    def backbone(_: nn.Module, args: tuple[Tensor, ...], output: dict[str, Tensor]) -> None:
        trace.images, trace.features = args[0], dict(output)
        trace.encoder, trace.decoder_self, trace.decoder_cross = [], [], []

    def transformer(_: nn.Module, args: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        trace.projected, trace.padding, queries, trace.position = args
        embeddings, trace.encoded = output
        trace.queries, trace.embeddings = queries[0], embeddings[0, -1]

    def box_head(_: nn.Module, __: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        logits, boxes = output
        trace.logits, trace.boxes = logits[0, -1].float(), boxes[0, -1].float()
        trace.layer_logits = logits[0].transpose(0, 1).float()
        trace.layer_boxes = boxes[0].transpose(0, 1).float()

    yield model.backbone.register_forward_hook(backbone)
    yield model.transformer.register_forward_hook(transformer)
    yield model.box_head.register_forward_hook(box_head)
    for layer in model.transformer.encoder.layers:
        yield _hook_attention(cast(nn.MultiheadAttention, layer.self_attn), trace, "encoder")
    for layer in model.transformer.decoder.layers:
        own, cross = layer.self_attn, layer.multihead_attn
        yield _hook_attention(cast(nn.MultiheadAttention, own), trace, "decoder_self")
        yield _hook_attention(cast(nn.MultiheadAttention, cross), trace, "decoder_cross")


def _hook_attention(module: nn.MultiheadAttention, trace: Trace, name: str) -> Any:
    def attention(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any], __: Any) -> None:
        call = AttentionCall(module, args[0], args[1], kwargs.get("key_padding_mask"))
        getattr(trace, name).append(call)

    return module.register_forward_hook(attention, with_kwargs=True)


def _hook_masks(model: Detr, trace: Trace) -> Iterator[Any]:
    if not isinstance(model, PanopticDetr):
        return

    def bbox_attention(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        trace.bbox_attention = output

    def mask_head(_: nn.Module, args: tuple[Any, ...], __: list[Tensor]) -> None:
        trace.head_features = list(args[2])

    yield model.bbox_attention.register_forward_hook(bbox_attention)
    yield model.mask_head.register_forward_hook(mask_head)


@dataclass
class HeadStages:
    """The inside of the FPN mask head, for q queries of one image.

    Attributes:
        convolved: after each convolution, GroupNorm and ReLU, coarse to fine: (q, C_k, h_k, w_k).
        laterals: the projected backbone features that are added, (C_k, h_k, w_k).
    """

    convolved: list[Tensor] = field(default_factory=list)
    laterals: list[Tensor] = field(default_factory=list)


@torch.no_grad()
def run_mask_head(
    model: PanopticDetr, trace: Trace, queries: list[int]
) -> tuple[Tensor, HeadStages | None]:
    """Run the mask head for chosen queries of the first recorded image.

    Returns:
        Mask logits (q, h_last, w_last), and the stages; None where the head is not an
        `FPNMaskHead`, whose inside nobody knows.
    """
    head = model.mask_head
    attention = trace.get("bbox_attention")[torch.tensor(queries, dtype=torch.int64)]
    # The trace may lie on the CPU and the model elsewhere.
    like = next(head.parameters())
    inputs = (
        trace.get("projected")[None].to(like),
        [attention.to(like)],
        [feature[:1].to(like) for feature in trace.head_features],
    )
    if not isinstance(head, FPNMaskHead):
        return head(*inputs)[0].float().cpu(), None
    stages = HeadStages()
    with ExitStack() as hooks:
        for norm in head.norms:
            handle = norm.register_forward_hook(
                lambda _, __, output: stages.convolved.append(output.relu().float().cpu())
            )
            hooks.callback(handle.remove)
        for adapter in head.adapters:
            handle = adapter.register_forward_hook(
                lambda _, __, output: stages.laterals.append(output[0].float().cpu())
            )
            hooks.callback(handle.remove)
        masks = head(*inputs)[0].float().cpu()
    return masks, stages
