"""Recognise what is in a file by the names of its tensors, and give them our names."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detr_d2.checkpoint import settings, tensor_names
from detr_d2.checkpoint.classes import Names, names_of_rows
from detr_d2.checkpoint.reading import Contents, WeightsError, read_contents
from detr_d2.checkpoint.tensor_names import Table, fuse_attention

# Where the weights lie in the dictionaries that training programs write.
STATE_KEYS = ("model", "state_dict", "model_state_dict", "model_state", "blobs")
CLASS_WEIGHT = "box_head.class_embed.weight"
POINTS = "reference_points.point.weight"


@dataclass
class Weights:
    """A checkpoint under our names.

    Attributes:
        path, layout: for messages.
        tensors: by our names.
        unknown: tensors that have no place in our models, such as an ImageNet classifier, by the
            names of the file.
        classes: names of the classifier's rows, None if unknown.
        settings: what the config must say, see `settings`.
        rest: what else the file holds: states of optimizer and trainer, iteration.
    """

    path: str
    layout: str
    tensors: dict[str, Tensor]
    unknown: dict[str, Tensor] = field(default_factory=dict)
    classes: Names | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A convention of naming and storing weights.

    Attributes:
        name: for messages.
        marks: every one of these patterns begins the name of some tensor.
        rename: our name for a name of the file, None if there is none.
        settings: what the config must say for such weights.
        is_detr: a whole DETR, perhaps with COCO's classes, not only a backbone.
    """

    name: str
    marks: tuple[str, ...]
    rename: Callable[[str], str | None]
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_detr: bool = False


def _below_backbone(table: Table) -> Callable[[str], str | None]:
    def rename(name: str) -> str | None:
        ours = table.ours(name)
        return f"backbone.{ours}" if ours else None

    return rename


_original = Table([*tensor_names.ORIGINAL, *tensor_names.MASK_HEAD])
_hugging_face = Table([*tensor_names.HF_TIMM, *tensor_names.HF_NATIVE, *tensor_names.MASK_HEAD])


def _rename_original(name: str) -> str | None:
    return _original.ours(name.removeprefix("detr."))


def _rename_hugging_face(name: str) -> str | None:
    for pattern, replacement in tensor_names.HF_ALIASES:
        name = re.sub(pattern, replacement, name)
    return _hugging_face.ours(name.removeprefix("detr."))


def _rename_detectron2(name: str) -> str | None:
    # "stem.fc" is the ImageNet classifier.
    return f"backbone.{name}" if re.match(r"(stem\.conv|res[2-5]\.)", name) else None


OURS = Layout("detr_d2", (), lambda name: name)
LAYOUTS = (
    Layout("detr_d2", (r"box_head\.class_embed\.", r"transformer\."), OURS.rename),
    Layout(
        "original DETR",
        (r"(detr\.)?transformer\.(en|de)coder\.", r"(detr\.)?(class_embed|backbone\.0\.body)\."),
        _rename_original,
        settings.PUBLISHED_DETR,
        is_detr=True,
    ),
    Layout(
        "Hugging Face DETR",
        (r"(detr\.)?model\.query_position_embeddings\.", r"(detr\.)?model\.input_projection\."),
        _rename_hugging_face,
        settings.PUBLISHED_DETR,
        is_detr=True,
    ),
    Layout(
        "torchvision ResNet",
        (r"conv1\.weight", r"layer1\.0\.conv1\.weight"),
        _below_backbone(Table(tensor_names.TORCHVISION)),
        settings.TORCHVISION,
    ),
    Layout(
        "Detectron2 ResNet",
        (r"stem\.conv1\.weight", r"res2\.0\.conv1\.weight"),
        _rename_detectron2,
        settings.TORCHVISION,
    ),
    Layout(
        "Caffe2 ResNet of Detectron",
        (r"conv1_w", r"res2_0_branch2a_w"),
        _below_backbone(Table(tensor_names.CAFFE2)),
        settings.CAFFE2,
    ),
)


def open_weights(location: str) -> Weights:
    """Read weights of any layout, from a file, a Hugging Face folder or a URL.

    Files that fit no published layout are taken for a model of ours as they are; `load_weights`
    then says whether anything fits.

    Raises:
        WeightsError: the file cannot be read safely, or holds no tensors.
    """
    contents = read_contents(location)
    state, rest = _split(contents)
    layout = recognise(state)
    renamed = {name: layout.rename(name) for name in state}
    tensors = {ours: state[name] for name, ours in renamed.items() if ours}
    unknown = {name: state[name] for name, ours in renamed.items() if not ours}
    if layout.name.startswith("Hugging"):
        try:
            tensors = fuse_attention(tensors)
        except RuntimeError as error:
            raise WeightsError(f"{location}: attention of unequal shapes ({error})") from error
    if layout.name.startswith("Caffe2"):
        tensors |= _folded_statistics(tensors)
    weights = Weights(location, layout.name, tensors, unknown, rest=rest)
    weights.classes = _classes(weights, contents, layout)
    weights.settings = {**layout.settings, **_settings_of(contents.config, rest.get("args"))}
    if not any(name.startswith("bbox_attention.") for name in tensors):
        weights.settings.pop("MODEL.DETR.BBOX_ATTENTION.NORMALIZE", None)
    if "query_embed.weight" in tensors:
        weights.settings["MODEL.DETR.REFERENCE_POINTS"] = POINTS in tensors
    return weights


def recognise(names: Mapping[str, Any]) -> Layout:
    """The layout whose marks are all among the names; ours if none is."""
    for layout in LAYOUTS:
        if all(any(re.match(mark, name) for name in names) for mark in layout.marks):
            return layout
    return OURS


def _split(contents: Contents) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file, and what else it holds."""
    data = contents.data
    key = next((k for k in STATE_KEYS if isinstance(data.get(k), dict)), None)
    state = data if key is None else data[key]
    rest = {} if key is None else {k: v for k, v in data.items() if k != key}
    tensors = {}
    for name, value in state.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            tensors[str(name)] = torch.from_numpy(np.array(value))
        elif isinstance(value, Tensor):
            if value.layout != torch.strided or value.is_meta or value.is_quantized:
                raise WeightsError(f"{contents.path}: {name} is no ordinary tensor of numbers")
            tensors[str(name)] = value
    if not tensors:
        raise WeightsError(f"{contents.path} holds no tensors; its keys are {list(data)[:8]}")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors, rest


def _folded_statistics(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean 0 and variance 1 for a batch norm whose statistics are folded into scale and bias."""
    scales = {n.removesuffix("weight"): t for n, t in tensors.items() if n.endswith("norm.weight")}
    means = {f"{name}running_mean": torch.zeros_like(t) for name, t in scales.items()}
    # Detectron2 adds 1e-5 before it takes the root.
    return means | {f"{name}running_var": torch.ones_like(t) - 1e-5 for name, t in scales.items()}


def _classes(weights: Weights, contents: Contents, layout: Layout) -> Names | None:
    """Names of the rows: those in the file, of its config, or written beside it in training."""
    listed = weights.rest.pop("classes", None)
    if listed is not None and not isinstance(listed, list | tuple):
        raise WeightsError(f"{weights.path}: classes is {listed!r:.80}, must be a list of names")
    weight = weights.tensors.get(CLASS_WEIGHT)
    if weight is None or weight.ndim != 2 or not len(weight):
        return None
    rows = len(weight) - 1
    if listed is None and layout.name == OURS.name and len(contents.categories) == rows:
        listed = contents.categories
    given = {i: str(name) for i, name in enumerate(listed or []) if name is not None}
    given |= {int(i): str(name) for i, name in contents.config.get("id2label", {}).items()}
    return names_of_rows(rows, given, maybe_coco=layout.is_detr)


def _settings_of(config: Mapping[str, Any], args: Any) -> dict[str, Any]:
    """Settings that a Hugging Face config, or the arguments of an original training, contain."""
    if config:
        return {
            "MODEL.DETR.NHEADS": config.get("encoder_attention_heads", 8),
            "MODEL.RESNETS.RES5_DILATION": 2 if config.get("dilation") else 1,
        }
    if type(getattr(args, "nheads", None)) is not int:
        return {}
    return {
        "MODEL.DETR.NHEADS": args.nheads,
        "MODEL.DETR.PRE_NORM": getattr(args, "pre_norm", False),
        "MODEL.RESNETS.RES5_DILATION": 2 if getattr(args, "dilation", False) else 1,
    }
