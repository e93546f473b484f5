"""Names of tensors in the published layouts beside ours; attention is cut differently in some.

Below `transformer.` we have the names of the original DETR; the backbone is Detectron2's ResNet.
In the tables our names stand at the left.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

Pairs = Sequence[tuple[str, str]]

FUSED = re.compile(r"(transformer\..*_?attn)\.in_proj_(weight|bias)")
SPLIT = re.compile(r"(transformer\..*_?attn)\.([qkv])_proj\.(weight|bias)")


class Table:
    """Pairs (our name, their name); a `*` stands for one part between dots, the same in both.

    The first pair that fits is taken; a name that fits none has no counterpart.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.to_ours = [(_pattern(theirs), _template(ours)) for ours, theirs in pairs]
        self.to_theirs = [(_pattern(ours), _template(theirs)) for ours, theirs in pairs]

    def ours(self, name: str) -> str | None:
        """Our name for one of theirs."""
        return _first(self.to_ours, name)

    def theirs(self, name: str) -> str | None:
        """Their name for one of ours."""
        return _first(self.to_theirs, name)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", r"([^.]+)"))


def _template(text: str) -> str:
    parts = text.split("*")
    return "".join(
        part + (rf"\g<{number}>" if number < len(parts) else "")
        for number, part in enumerate(parts, 1)
    )


def _first(rules: Iterable[tuple[re.Pattern[str], str]], name: str) -> str | None:
    for pattern, template in rules:
        if match := pattern.fullmatch(name):
            return match.expand(template)
    return None


def prefixed(pairs: Pairs, ours: str, theirs: str) -> list[tuple[str, str]]:
    """The same pairs below two prefixes."""
    return [(ours + a, theirs + b) for a, b in pairs]


def fuse_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join q_proj, k_proj and v_proj to torch's in_proj_weight and in_proj_bias.

    A projection whose two siblings are missing is left as it is.
    """
    result = dict(tensors)
    for name in tensors:
        match = SPLIT.fullmatch(name)
        if not match or match[2] != "q":
            continue
        parts = [f"{match[1]}.{letter}_proj.{match[3]}" for letter in "qkv"]
        if all(part in result for part in parts):
            joined = torch.cat([result.pop(part) for part in parts])
            result[f"{match[1]}.in_proj_{match[3]}"] = joined
    return result


def split_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The opposite of `fuse_attention`."""
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = FUSED.fullmatch(name)
        if not match:
            result[name] = tensor
            continue
        for letter, part in zip("qkv", tensor.chunk(3), strict=True):
            result[f"{match[1]}.{letter}_proj.{match[2]}"] = part
    return result


_STAGES = ((2, 1), (3, 2), (4, 3), (5, 4))  # Detectron2's res2 is torchvision's layer1.

# torchvision's ResNet; timm's and the original DETR's have the same names.
TORCHVISION = [
    ("stem.conv1.weight", "conv1.weight"),
    ("stem.conv1.norm.*", "bn1.*"),
    *[
        pair
        for ours, theirs in _STAGES
        for pair in (
            (f"res{ours}.*.shortcut.weight", f"layer{theirs}.*.downsample.0.weight"),
            (f"res{ours}.*.shortcut.norm.*", f"layer{theirs}.*.downsample.1.*"),
            *[
                (f"res{ours}.*.conv{i}.weight", f"layer{theirs}.*.conv{i}.weight")
                for i in (1, 2, 3)
            ],
            *[(f"res{ours}.*.conv{i}.norm.*", f"layer{theirs}.*.bn{i}.*") for i in (1, 2, 3)],
        )
    ],
]

# The ResNet of transformers.
_HF_LAYER = "encoder.stages.{stage}.layers.*"
HF_RESNET = [
    ("stem.conv1.weight", "embedder.embedder.convolution.weight"),
    ("stem.conv1.norm.*", "embedder.embedder.normalization.*"),
    *[
        pair
        for ours, theirs in _STAGES
        for layer in (_HF_LAYER.format(stage=theirs - 1),)
        for pair in (
            (f"res{ours}.*.shortcut.weight", f"{layer}.shortcut.convolution.weight"),
            (f"res{ours}.*.shortcut.norm.*", f"{layer}.shortcut.normalization.*"),
            *[
                (f"res{ours}.*.conv{i}.weight", f"{layer}.layer.{i - 1}.convolution.weight")
                for i in (1, 2, 3)
            ],
            *[
                (f"res{ours}.*.conv{i}.norm.*", f"{layer}.layer.{i - 1}.normalization.*")
                for i in (1, 2, 3)
            ],
        )
    ],
]

# Caffe2's ResNet in the .pkl files of Detectron: batch norm is folded to scale and bias.
_BRANCHES = (("conv1", "branch2a"), ("conv2", "branch2b"), ("conv3", "branch2c"))
CAFFE2 = [
    ("stem.conv1.weight", "conv1_w"),
    ("stem.conv1.norm.weight", "res_conv1_bn_s"),
    ("stem.conv1.norm.bias", "res_conv1_bn_b"),
    *[
        (f"res{stage}.*.{ours}{a}", f"res{stage}_*_{theirs}{b}")
        for stage, _ in _STAGES
        for ours, theirs in (*_BRANCHES, ("shortcut", "branch1"))
        for a, b in ((".weight", "_w"), (".norm.weight", "_bn_s"), (".norm.bias", "_bn_b"))
    ],
]

MASK_HEAD = [
    *[(f"mask_head.convs.{i}.*", f"mask_head.lay{i + 1}.*") for i in range(5)],
    *[(f"mask_head.norms.{i}.*", f"mask_head.gn{i + 1}.*") for i in range(5)],
    *[(f"mask_head.adapters.{i}.*", f"mask_head.adapter{i + 1}.*") for i in range(3)],
    ("mask_head.output.*", "mask_head.out_lay.*"),
    ("bbox_attention.q_linear.*", "bbox_attention.q_linear.*"),
    ("bbox_attention.k_linear.*", "bbox_attention.k_linear.*"),
]

# The original DETR, boxes; a panoptic checkpoint has these below "detr." and MASK_HEAD beside.
ORIGINAL = [
    *prefixed(TORCHVISION, "backbone.", "backbone.0.body."),
    ("input_proj.*", "input_proj.*"),
    ("query_embed.weight", "query_embed.weight"),
    ("box_head.class_embed.*", "class_embed.*"),
    ("box_head.bbox_embed.layers.*.*", "bbox_embed.layers.*.*"),
    *[
        (f"transformer.{part}.{name}", f"transformer.{part}.{name}")
        for part in ("encoder", "decoder")
        for name in (
            "norm.*",
            "layers.*.*.*",
            "layers.*.self_attn.out_proj.*",
            "layers.*.multihead_attn.out_proj.*",
        )
    ],
]

# Hugging Face, below "model." or "detr.model."; attention is cut in three there.
_HF_ENCODER = (("norm1", "self_attn_layer_norm"), ("norm2", "final_layer_norm"))
_HF_DECODER = (
    ("norm1", "self_attn_layer_norm"),
    ("norm2", "encoder_attn_layer_norm"),
    ("norm3", "final_layer_norm"),
    ("multihead_attn.q_proj", "encoder_attn.q_proj"),
    ("multihead_attn.k_proj", "encoder_attn.k_proj"),
    ("multihead_attn.v_proj", "encoder_attn.v_proj"),
    ("multihead_attn.out_proj", "encoder_attn.out_proj"),
)
_HF_BOTH = (
    ("linear1", "fc1"),
    ("linear2", "fc2"),
    *[(f"self_attn.{x}_proj", f"self_attn.{x}_proj") for x in ("q", "k", "v", "out")],
)
_HF_DETR = [
    ("input_proj.*", "model.input_projection.*"),
    ("query_embed.weight", "model.query_position_embeddings.weight"),
    ("box_head.class_embed.*", "class_labels_classifier.*"),
    ("box_head.bbox_embed.layers.*.*", "bbox_predictor.layers.*.*"),
    ("transformer.decoder.norm.*", "model.decoder.layernorm.*"),
    *[
        (f"transformer.{part}.layers.*.{ours}.*", f"model.{part}.layers.*.{theirs}.*")
        for part, names in (("encoder", _HF_ENCODER), ("decoder", _HF_DECODER))
        for ours, theirs in (*names, *_HF_BOTH)
    ],
]
_HF_BACKBONE = "model.backbone.conv_encoder.model."
HF_TIMM = [*prefixed(TORCHVISION, "backbone.", _HF_BACKBONE), *_HF_DETR]
HF_NATIVE = [*prefixed(HF_RESNET, "backbone.", _HF_BACKBONE), *_HF_DETR]

# What transformers 5 calls things in memory, and what it writes to files (as version 4 did).
HF_ALIASES = (
    (r"\bmodel\.backbone\.model\.", "model.backbone.conv_encoder.model."),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.mlp\.fc([12])\.", r".fc\1."),
    (r"\bbbox_attention\.([qk])_proj\.", r"bbox_attention.\1_linear."),
    (r"\bmask_head\.conv([12])\.conv\.", r"mask_head.lay\1."),
    (r"\bmask_head\.conv([12])\.norm\.", r"mask_head.gn\1."),
    *[
        pair
        for i in range(3)
        for pair in (
            (rf"\bmask_head\.fpn_stages\.{i}\.fpn_adapter\.", f"mask_head.adapter{i + 1}."),
            (rf"\bmask_head\.fpn_stages\.{i}\.refine\.conv\.", f"mask_head.lay{i + 3}."),
            (rf"\bmask_head\.fpn_stages\.{i}\.refine\.norm\.", f"mask_head.gn{i + 3}."),
        )
    ],
    (r"\bmask_head\.output_conv\.", "mask_head.out_lay."),
)
