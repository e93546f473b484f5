"""Tables of names, usable in both directions, and the one tensor that is cut differently."""

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
