"""Our weights in the layouts of other programs: the original DETR and Hugging Face."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from detr_d2.checkpoint import tensor_names
from detr_d2.checkpoint.layouts import CLASS_WEIGHT, Weights
from detr_d2.checkpoint.reading import WeightsError
from detr_d2.checkpoint.tensor_names import Table, split_attention
from detr_d2.utils.files import replacing, write_text

Backbone = Literal["timm", "transformers"]
# Blocks of res2 to res5, by the depth of the ResNet.
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
MASK_HEAD = ("bbox_attention.", "mask_head.")
# Counters of batch norm, and the queries of Group DETR that only training uses.
NOT_WRITTEN = re.compile(r".*num_batches_tracked|extra_queries\..*")


@dataclass(frozen=True)
class Architecture:
    """The choices of a model's architecture that its tensors do not show.

    Attributes:
        nheads: heads of the transformer's attention.
        dilated: res5 is dilated, DC5.
    """

    nheads: int = 8
    dilated: bool = False


def ours_content(weights: Weights) -> dict[str, Any]:
    """Return what our own file of these weights holds, for `torch.save`. Rows keep their order."""
    content: dict[str, Any] = {"model": weights.tensors}
    return content | ({"classes": list(weights.classes)} if weights.classes else {})


def write_original(path: str, weights: Weights) -> None:
    """Write a checkpoint of the original DETR, boxes or panoptic.

    The rows of the classifier keep their order. Their names, which the original does not know,
    are kept under "classes".

    Raises:
        WeightsError: a tensor has no place there.
    """
    table = Table([*tensor_names.ORIGINAL, *tensor_names.MASK_HEAD])
    prefix = "detr." if _has_masks(weights) else ""
    state = _renamed(weights.tensors, table, prefix)
    content = ours_content(weights) | {"model": state}
    with replacing(path) as temporary:
        torch.save(content, temporary)


def write_hugging_face(
    folder: str,
    weights: Weights,
    architecture: Architecture | None = None,
    backbone: Backbone = "timm",
) -> None:
    """Write a folder that `transformers` loads: config, weights, and how images are prepared.

    Args:
        folder: made if needed; the three files in it are replaced.
        architecture: what the weights do not show.
        backbone: whose ResNet is used there, as the published folders or transformers' own. Both
            hold the same numbers; a dilated one only timm has.

    Raises:
        WeightsError: transformers has no such DETR.
    """
    architecture = architecture or Architecture()
    if any(name.startswith("transformer.encoder.norm.") for name in weights.tensors):
        raise WeightsError("transformers has no DETR with MODEL.DETR.PRE_NORM True")
    if architecture.dilated and backbone != "timm":
        raise WeightsError("transformers dilates (DC5) only a backbone of timm")
    pairs = tensor_names.HF_TIMM if backbone == "timm" else tensor_names.HF_NATIVE
    prefix = "detr." if _has_masks(weights) else ""
    table = Table([*pairs, *tensor_names.MASK_HEAD])
    state = _renamed(split_attention(_written(weights.tensors)), table, prefix)
    config = hugging_face_config(weights, architecture, backbone)
    os.makedirs(folder, exist_ok=True)
    with replacing(os.path.join(folder, "model.safetensors")) as temporary:
        # "pt" is the note that transformers asks for.
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(tensors, temporary, metadata={"format": "pt"})
    for name, content in (("config", config), ("preprocessor_config", _images())):
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        write_text(os.path.join(folder, f"{name}.json"), text)


def hugging_face_config(
    weights: Weights, architecture: Architecture, backbone: Backbone
) -> dict[str, Any]:
    """`config.json` of a DETR with these weights.

    Raises:
        WeightsError: the backbone is none of the published ResNets.
    """
    tensors = weights.tensors
    queries, width = _shape(tensors, "query_embed.weight")
    rows = _shape(tensors, CLASS_WEIGHT)[0] - 1
    names = [name or "N/A" for name in weights.classes or [f"LABEL_{i}" for i in range(rows)]]
    layers = {
        part: len(_numbers(tensors, rf"transformer\.{part}\.layers\.(\d+)\."))
        for part in ("encoder", "decoder")
    }
    config: dict[str, Any] = {
        "architectures": [
            "DetrForSegmentation" if _has_masks(weights) else "DetrForObjectDetection"
        ],
        "model_type": "detr",
        "d_model": width,
        "num_queries": queries,
        "dilation": architecture.dilated,
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
        **_backbone_config(tensors, architecture, backbone),
    }
    for part, count in layers.items():
        feed_forward = _shape(tensors, f"transformer.{part}.layers.0.linear1.weight")[0]
        config |= {
            f"{part}_layers": count,
            f"{part}_ffn_dim": feed_forward,
            f"{part}_attention_heads": architecture.nheads,
        }
    return config


def _backbone_config(
    tensors: Mapping[str, Tensor], architecture: Architecture, backbone: Backbone
) -> dict[str, Any]:
    blocks = tuple(
        len(_numbers(tensors, rf"backbone\.res{stage}\.(\d+)\.")) for stage in range(2, 6)
    )
    depth = next((depth for depth, counts in DEPTHS.items() if counts == blocks), None)
    if depth is None or _shape(tensors, "backbone.res2.0.conv3.weight")[0] != 256:
        raise WeightsError(f"blocks {blocks} are no ResNet of {list(DEPTHS)} layers")
    if backbone == "timm":
        described: dict[str, Any] = {
            "model_type": "timm_backbone",
            "backbone": f"resnet{depth}",
            "features_only": True,
            "num_channels": 3,
            "out_indices": [1, 2, 3, 4],
            "use_pretrained_backbone": False,
        }
        described |= {"output_stride": 16} if architecture.dilated else {}
    else:
        described = {
            "model_type": "resnet",
            "depths": list(blocks),
            "downsample_in_bottleneck": False,
            "layer_type": "bottleneck",
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        }
    return {"backbone_config": described, "use_timm_backbone": backbone == "timm"}


def _images() -> dict[str, Any]:
    """How transformers prepares images: as DETR was published."""
    return {
        "image_processor_type": "DetrImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 800, "longest_edge": 1333},
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "do_pad": True,
    }


def _has_masks(weights: Weights) -> bool:
    return any(name.startswith(MASK_HEAD) for name in weights.tensors)


def _written(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if not NOT_WRITTEN.fullmatch(name)}


def _renamed(tensors: Mapping[str, Tensor], table: Table, prefix: str) -> dict[str, Tensor]:
    state, lost = {}, []
    for name, tensor in _written(tensors).items():
        theirs = table.theirs(name)
        if theirs is None:
            lost.append(name)
        else:
            state[theirs if name.startswith(MASK_HEAD) else prefix + theirs] = tensor
    if lost:
        raise WeightsError(f"no name in that layout for {', '.join(lost[:5])}")
    return state


def _shape(tensors: Mapping[str, Tensor], name: str) -> Sequence[int]:
    if name not in tensors:
        raise WeightsError(f"this is no whole DETR: {name} is missing")
    return tensors[name].shape


def _numbers(tensors: Mapping[str, Tensor], pattern: str) -> set[str]:
    return {match[1] for name in tensors if (match := re.match(pattern, name))}
