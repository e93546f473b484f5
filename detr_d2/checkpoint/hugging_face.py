"""Our weights as a folder that `transformers` loads."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from detectron2.config import CfgNode
from safetensors.torch import save_file
from torch import Tensor

from detr_d2.checkpoint import settings, tensor_names
from detr_d2.checkpoint.classes import plain
from detr_d2.checkpoint.layouts import CLASS_WEIGHT, Weights
from detr_d2.checkpoint.reading import WeightsError
from detr_d2.checkpoint.tensor_names import Table, split_attention
from detr_d2.checkpoint.writing import has_masks, renamed, written
from detr_d2.utils.files import replacing, write_text

Backbone = Literal["timm", "transformers"]
# Blocks of res2 to res5, by the depth of the ResNet.
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# Groups of the norms in transformers' mask head.
NORM_GROUPS = 8
# How DETR was published: what transformers calls a processor's config.
PUBLISHED: Mapping[str, Any] = {
    "image_processor_type": "DetrImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 800, "longest_edge": 1333},
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_pad": True,
}


@dataclass(frozen=True)
class Architecture:
    """The choices of a model's architecture that its tensors do not show.

    Attributes:
        nheads: heads of the transformer's attention.
        dilated: res5 is dilated, DC5.
    """

    nheads: int = 8
    dilated: bool = False


def image_preparation(cfg: CfgNode) -> dict[str, Any]:
    """`preprocessor_config.json` of a model: sizes of INPUT, statistics of MODEL.

    Raises:
        WeightsError: the model has a setting that transformers' DETR has not.
    """
    fixed = {k: v for k, v in settings.PUBLISHED_DETR.items() if "PIXEL_" not in k}
    found = settings.departures(fixed, cfg)
    if found:
        lines = ", ".join(f"{key} {is_!r} (there {want!r})" for key, (is_, want) in found.items())
        raise WeightsError(f"transformers has no DETR with {lines}")
    sizes = {"shortest_edge": cfg.INPUT.MIN_SIZE_TEST, "longest_edge": cfg.INPUT.MAX_SIZE_TEST}
    resize = {"size": sizes} if cfg.INPUT.MIN_SIZE_TEST else {"do_resize": False}
    return {
        **PUBLISHED,
        **resize,
        # Detectron2 counts colours up to 255, transformers up to 1.
        "image_mean": [value / 255 for value in cfg.MODEL.PIXEL_MEAN],
        "image_std": [value / 255 for value in cfg.MODEL.PIXEL_STD],
    }


def stuff_rows(weights: Weights, categories: Sequence[Mapping[str, Any]]) -> list[int]:
    """Rows of the classifier that are stuff, by their names; without names by their order.

    Args:
        weights: with the names of the rows, if known.
        categories: COCO-panoptic entries in contiguous order.

    Raises:
        WeightsError: a row has no category of its name, or the numbers differ.
    """
    rows = _shape(weights.tensors, CLASS_WEIGHT)[0] - 1
    if weights.classes is None and rows != len(categories):
        raise WeightsError(f"{rows} classes without names, but {len(categories)} categories")
    names = weights.classes or tuple(category["name"] for category in categories)
    isthing = {plain(category["name"]): bool(category["isthing"]) for category in categories}
    unknown = [name for name in names if name is not None and plain(name) not in isthing]
    if unknown:
        raise WeightsError(
            f"classes {unknown[:5]} of {weights.path} are not among the config's categories "
            f"{sorted(isthing)[:5]} ..."
        )
    return [row for row, name in enumerate(names) if name and not isthing[plain(name)]]


def write_hugging_face(
    folder: str,
    weights: Weights,
    architecture: Architecture | None = None,
    backbone: Backbone = "timm",
    preparation: Mapping[str, Any] | None = None,
    categories: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write a folder that `transformers` loads: config, weights, and how images are prepared.

    Args:
        folder: made if needed; the files in it are replaced.
        architecture: what the weights do not show.
        backbone: whose ResNet is used there, as the published folders or transformers' own. Both
            hold the same numbers; a dilated one only timm has.
        preparation: of images, see `image_preparation`; None as DETR was published.
        categories: COCO-panoptic entries. `categories.json` gets them, and `stuff_label_ids` of
            `config.json` the classes that are stuff, which transformers has no place for.

    Raises:
        WeightsError: transformers has no such DETR, or classes without a category.
    """
    architecture = architecture or Architecture()
    if any(name.startswith("transformer.encoder.norm.") for name in weights.tensors):
        raise WeightsError("transformers has no DETR with MODEL.DETR.PRE_NORM True")
    if architecture.dilated and backbone != "timm":
        raise WeightsError("transformers dilates (DC5) only a backbone of timm")
    pairs = tensor_names.HF_TIMM if backbone == "timm" else tensor_names.HF_NATIVE
    prefix = "detr." if has_masks(weights) else ""
    table = Table([*pairs, *tensor_names.MASK_HEAD])
    state = renamed(split_attention(written(weights.tensors)), table, prefix)
    config = hugging_face_config(weights, architecture, backbone)
    files: dict[str, Any] = {"config": config, "preprocessor_config": preparation or PUBLISHED}
    if categories:
        config["stuff_label_ids"] = stuff_rows(weights, categories)
        files["categories"] = list(categories)
    os.makedirs(folder, exist_ok=True)
    with replacing(os.path.join(folder, "model.safetensors")) as temporary:
        # "pt" is the note that transformers asks for.
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(tensors, temporary, metadata={"format": "pt"})
    for name, content in files.items():
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
    if has_masks(weights) and (width + architecture.nheads) % NORM_GROUPS:
        raise WeightsError(
            f"transformers' mask head needs HIDDEN_DIM + NHEADS = {width} + {architecture.nheads} "
            f"to be a multiple of {NORM_GROUPS}"
        )
    layers = {
        part: len(_numbers(tensors, rf"transformer\.{part}\.layers\.(\d+)\."))
        for part in ("encoder", "decoder")
    }
    config: dict[str, Any] = {
        "architectures": [
            "DetrForSegmentation" if has_masks(weights) else "DetrForObjectDetection"
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


def _shape(tensors: Mapping[str, Tensor], name: str) -> Sequence[int]:
    if name not in tensors:
        raise WeightsError(f"this is no whole DETR: {name} is missing")
    return tensors[name].shape


def _numbers(tensors: Mapping[str, Tensor], pattern: str) -> set[str]:
    return {match[1] for name in tensors if (match := re.match(pattern, name))}
