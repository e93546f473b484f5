"""Pack what backbone and transformer computed: features, attention, queries. See `payload`."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from detr_d2.explanation.factors import attention_factors, largest_error, rounding_step
from detr_d2.explanation.feature_pictures import picture_features
from detr_d2.explanation.packing import Packer
from detr_d2.explanation.recorded_pass import RecordedPass
from detr_d2.modeling.box_head import predict_classes

FEATURES = ("res2", "res3", "res4", "res5", "projected", "position", "encoded")


@dataclass(frozen=True)
class Detail:
    """How much of a pass the page gets; large images get less.

    Attributes:
        error: of the encoder's attention logits by rounding, quadratic mean.
        logit_step: distance of two levels of the mask logits.
        candidates, followed: numbers of queries.
        encoder_layers: how many, from the last one.
    """

    error: float
    logit_step: float
    candidates: int
    followed: int
    encoder_layers: int


def image_section(recorded: RecordedPass) -> dict[str, Any]:
    """Sizes of the image, and the picture."""
    stream = io.BytesIO()
    Image.fromarray(recorded.picture).save(stream, "JPEG", quality=88)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return {
        "original": list(recorded.original),
        "network": list(recorded.trace.get("images").shape[-2:]),
        "output": list(recorded.size),
        "url": f"data:image/jpeg;base64,{data}",
    }


def feature_section(recorded: RecordedPass, packer: Packer) -> dict[str, Any]:
    """Pictures of the feature maps."""
    section = {}
    for name in FEATURES:
        if name not in recorded.trace.features and not hasattr(recorded.trace, name):
            continue
        shown = picture_features(recorded.trace.get(name))
        section[name] = {
            "shape": list(shown.shape),
            "picture": list(shown.norm.shape),
            "rgb": packer.add_integers(f"{name}-rgb", shown.rgb, f"{name}: principal components"),
            "channels": packer.add(
                f"{name}-channels",
                shown.channels,
                f"{name}: the channels that vary most",
                leading=1,
                delta=True,
            ),
            "channel_ids": shown.channel_ids,
            "norm": packer.add(f"{name}-norm", shown.norm, f"{name}: length in each cell"),
        }
    return section


def query_section(recorded: RecordedPass, packer: Packer) -> dict[str, Any]:
    """Scores, classes and boxes of all queries, and their embeddings."""
    found = recorded.queries()
    probabilities = recorded.trace.get("logits").softmax(-1)
    values, indices = probabilities[:, :-1].topk(min(3, probabilities.shape[1] - 1))
    boxes = recorded.trace.get("boxes")
    queries = [
        {
            "score": found.scores[q].item(),
            "class": int(found.classes[q]),
            "is_object": bool(found.is_object[q]),
            "no_object": round(probabilities[q, -1].item(), 6),
            "box": [round(value, 5) for value in boxes[q].tolist()],
            "top": [
                [index, round(value, 6)]
                for index, value in zip(indices[q].tolist(), values[q].tolist(), strict=True)
            ],
        }
        for q in range(len(found.scores))
    ]
    embeddings = recorded.trace.get("embeddings")
    packer.add("embeddings", embeddings, "box embeddings, one row a query")
    packer.add("queries", recorded.trace.get("queries"), "learned queries, one row each")
    return {"queries": queries, "embeddings": "embeddings", "query_embed": "queries"}


def encoder_section(recorded: RecordedPass, packer: Packer, detail: Detail) -> dict[str, Any]:
    """Factors of the encoder's self-attention, see `factors`, and how far off they are."""
    calls = recorded.trace.encoder
    layers, worst = [], 0.0
    for layer in range(max(0, len(calls) - detail.encoder_layers), len(calls)):
        queries, keys = attention_factors(calls[layer])
        step = rounding_step(queries, keys, detail.error)
        # Components that vanish in every head are not sent.
        largest = torch.maximum(queries.abs(), keys.abs()).amax((0, 2))
        count = max(1, int((largest >= step / 2).sum()))
        entry: dict[str, Any] = {"layer": layer}
        rounded = []
        for kind, factor in (("queries", queries), ("keys", keys)):
            name = f"encoder-{layer}-{kind}"
            text = f"encoder layer {layer}: {kind}, head x component x cell"
            entry[kind] = packer.add(name, factor[:, :count], text, leading=1, step=step)
            rounded.append(torch.from_numpy(packer.values(name)))
        layers.append(entry)
        worst = max(worst, largest_error(calls[layer], *rounded))
    cells = list(recorded.trace.get("projected").shape[-2:])
    return {"layers": layers, "cells": cells, "tolerance": worst}


def decoder_section(recorded: RecordedPass, packer: Packer, followed: list[int]) -> dict[str, Any]:
    """Attention of the followed queries, every layer and head."""
    trace = recorded.trace
    cells = trace.get("projected").shape[-2:]
    cross = torch.stack([call.weights(followed)[0] for call in trace.decoder_cross])
    own = torch.stack([call.weights(followed)[0] for call in trace.decoder_self])
    cross = cross.transpose(1, 2).unflatten(3, cells)
    layers = [
        (predict_classes(logits[followed]), boxes[followed])
        for logits, boxes in zip(trace.get("layer_logits"), trace.get("layer_boxes"), strict=True)
    ]
    text = "decoder {}: layer x followed query x head x {}"
    return {
        "layers": [
            {
                "scores": found.scores.tolist(),
                "classes": found.classes.tolist(),
                "boxes": [[round(value, 5) for value in box] for box in boxes.tolist()],
            }
            for found, boxes in layers
        ],
        "cross": packer.add(
            "decoder-cross",
            cross,
            text.format("cross-attention", "cell"),
            leading=3,
            from_zero=True,
        ),
        "self": packer.add(
            "decoder-self",
            own.transpose(1, 2),
            text.format("self-attention", "query"),
            leading=3,
            from_zero=True,
        ),
    }
