"""The walk through the model: every tensor in order, what it is, where it comes from, its code."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from detr_d2.explanation.capture import Trace
from detr_d2.explanation.code_links import code_link
from detr_d2.modeling import Detr, FPNMaskHead, PanopticDetr
from detr_d2.modeling.box_head import MLP, BoxHead
from detr_d2.modeling.panoptic_merge import panoptic_inference
from detr_d2.modeling.position_encoding import sine_position_encoding
from detr_d2.modeling.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from detr_d2.ops.masks import unpad_and_resize


@dataclass(frozen=True)
class Stop:
    """A tensor of the walk.

    Attributes:
        id, title: names.
        text: what it is.
        symbol: its shape in letters.
        sources: ids of the stops that it is made of.
        code: (function or class, text of a line in it or "" for the whole) that make it.
        mask_stage: whether only a model with masks has it.
        with_points: what is added to the text if queries have reference points.

    Texts and symbols are those of a model whose encoded image has cells of 32 pixels; see
    `at_stride`.
    """

    id: str
    title: str
    text: str
    symbol: str
    sources: tuple[str, ...]
    code: Callable[[Detr], list[tuple[Any, str]]]
    mask_stage: bool = False
    with_points: str = ""

    def symbol_of(self, trace: Trace) -> str:
        """The shape in letters; of a backbone feature with this model's number of channels."""
        if self.id in trace.features:
            return f"{trace.get(self.id).shape[0]} x {self.symbol}"
        return self.symbol


def at_stride(text: str, stride: int) -> str:
    """A text about cells of 32 pixels for a model with cells of `stride` pixels (DC5: 16)."""
    return text.replace("/32", f"/{stride}").replace("32 x 32", f"{stride} x {stride}")


def _features(name: str, stride: int, text: str, sources: tuple[str, ...]) -> Stop:
    return Stop(
        name,
        name.capitalize(),
        text,
        f"H/{stride} x W/{stride}",
        sources,
        lambda model: [(Detr.forward_detr, "self.backbone(")],
    )


STOPS: tuple[Stop, ...] = (
    Stop(
        "image",
        "Image",
        "The image at the size of the network, normalised per channel; in a batch, padded with "
        "zeros at the right and at the bottom.",
        "3 x H x W",
        (),
        lambda model: [(Detr.preprocess, "")],
    ),
    _features(
        "res2",
        4,
        "First stage of the ResNet: fine and shallow, edges and textures. It is used again at the "
        "end of the mask head.",
        ("image",),
    ),
    _features("res3", 8, "Second stage of the ResNet: half the size, more channels.", ("res2",)),
    _features("res4", 16, "Third stage of the ResNet: parts of objects.", ("res3",)),
    _features(
        "res5",
        32,
        "Last stage of the ResNet: one cell for 32 x 32 pixels. The only one that the transformer "
        "sees.",
        ("res4",),
    ),
    Stop(
        "projected",
        "Projected image",
        "A 1 x 1 convolution reduces Res5 to the d channels of the transformer. It goes two ways: "
        "into the encoder, and past the transformer straight to the mask head.",
        "d x H/32 x W/32",
        ("res5",),
        lambda model: [(Detr.forward_detr, "self.input_proj(")],
    ),
    Stop(
        "position",
        "Position encoding",
        "Sines and cosines of the row and the column of each cell: attention by itself does not "
        "know where a cell is. Added to queries and keys of the encoder and to the keys of the "
        "decoder's cross-attention; never to values, and not in bbox attention.",
        "d x H/32 x W/32",
        (),
        lambda model: [(sine_position_encoding, "")],
    ),
    Stop(
        "encoded",
        "Encoded image",
        "The output of the transformer encoder: every cell has looked at every other cell, layer "
        "after layer. Same shape as the input, other content.",
        "d x H/32 x W/32",
        ("projected", "position"),
        lambda model: [(TransformerEncoder.forward, ""), (TransformerEncoderLayer.forward, "")],
    ),
    Stop(
        "queries",
        "Object queries",
        "N learned vectors, the same for every image: the position encoding of the decoder's "
        "slots. Its content starts as zeros.",
        "N x d",
        (),
        lambda model: [(Transformer.forward, "self.decoder(")],
        with_points=" Each also has a point of the image, where it looks first: the position "
        "encoding of that point is added to the vector.",
    ),
    Stop(
        "embeddings",
        "Box embeddings",
        "The output of the last decoder layer, one d-vector per query: what the query has gathered "
        "from the encoded image and from the other queries. Not a box yet.",
        "N x d",
        ("queries", "encoded", "position"),
        lambda model: [(TransformerDecoder.forward, ""), (TransformerDecoderLayer.forward, "")],
    ),
    Stop(
        "scores",
        "Class scores",
        'A linear layer on each box embedding, and softmax over the K classes and "no object".',
        "N x (K + 1)",
        ("embeddings",),
        lambda model: [(BoxHead.forward, "")],
    ),
    Stop(
        "boxes",
        "Boxes",
        "A small MLP on each box embedding, and a sigmoid: centre, width and height as fractions "
        "of the image. The masks do not use them.",
        "N x 4",
        ("embeddings",),
        lambda model: [(BoxHead.forward, ""), (MLP.forward, "")],
        with_points=" Centres are relative to the queries' points.",
    ),
    Stop(
        "bbox_attention",
        "Bbox attention",
        "Each box embedding is compared with every cell of the encoded image by M heads; softmax "
        "makes M maps of weights. No values are added up: the weights are the result.",
        "N x M x H/32 x W/32",
        ("embeddings", "encoded"),
        lambda model: [(_mask_parts(model)[0].forward, "")],
        True,
    ),
    Stop(
        "concat",
        "Concatenation",
        "For each query: the d channels of the projected image and that query's M maps, stacked. "
        "From here on the queries are a batch: each runs through the mask head alone.",
        "N x (d + M) x H/32 x W/32",
        ("projected", "bbox_attention"),
        lambda model: [(_mask_parts(model)[1].forward, "")],
        True,
    ),
    Stop(
        "fpn",
        "FPN-style CNN",
        "Five 3 x 3 convolutions. Three times the map is enlarged to the size of the next finer "
        "stage: Res4, Res3, Res2, brought to its number of channels by a 1 x 1 convolution, are "
        "added.",
        "N x d/16 x H/4 x W/4",
        ("concat", "res4", "res3", "res2"),
        lambda model: [
            (
                FPNMaskHead._decode
                if isinstance(model, PanopticDetr) and isinstance(model.mask_head, FPNMaskHead)
                else _mask_parts(model)[1].forward,
                "",
            )
        ],
        True,
    ),
    Stop(
        "masks",
        "Mask logits",
        "A last convolution with one output channel: one map of logits for each query. Above 0 "
        "means that the pixel rather belongs to the query than not.",
        "N x H/4 x W/4",
        ("fpn",),
        lambda model: [(_mask_parts(model)[1].forward, ""), (unpad_and_resize, "")],
        True,
    ),
    Stop(
        "merge",
        "Merge",
        "Queries above the score threshold compete: at every pixel the largest logit wins. "
        "Segments with too few pixels leave, and their pixels go to the next best.",
        "H x W",
        ("masks", "scores"),
        lambda model: [(panoptic_inference, "")],
        True,
    ),
    Stop(
        "panoptic",
        "Panoptic map",
        "Segments of one stuff class become one, things stay apart: every pixel has one segment, "
        "every segment a class.",
        "H x W",
        ("merge",),
        lambda model: [(panoptic_inference, "")],
        True,
    ),
)


def _mask_parts(model: Detr) -> tuple[type[nn.Module], type[nn.Module]]:
    assert isinstance(model, PanopticDetr)
    return type(model.bbox_attention), type(model.mask_head)


def stops_of(model: Detr) -> list[Stop]:
    """The stops that a model has, as they are in it: without masks only those up to the boxes."""
    return [
        replace(
            stop,
            symbol=at_stride(stop.symbol, model.stride),
            text=at_stride(stop.text, model.stride)
            + (stop.with_points if model.reference_points else ""),
        )
        for stop in STOPS
        if isinstance(model, PanopticDetr) or not stop.mask_stage
    ]


def stop_code(stop: Stop, model: Detr) -> list[dict[str, Any]]:
    """Lines that make a stop's tensor; see `code_link`."""
    return [code_link(target, text) for target, text in stop.code(model)]
