"""Where does each query look? Attention maps of the box embeddings over the encoded image.

DETR paper, section 4.4: "multi-head attention scores of the box embedding over the output of the
transformer encoder, generating M attention heatmaps per object in a small resolution".
"""

from typing import Literal

import torch
from detectron2.config import CfgNode, configurable
from detectron2.utils.registry import Registry
from torch import Tensor, nn
from torch.nn import functional as F

BBOX_ATTENTION_REGISTRY = Registry("BBOX_ATTENTION")
BBOX_ATTENTION_REGISTRY.__doc__ = """Bbox attentions by name in the config.

A bbox attention is built as `cls(cfg)` and called as
`attention(queries (N, Q, d), image (N, d, h, w), padding (N, h, w) bool) -> (N, Q, M, h, w)`;
it has `num_maps`, the number M of maps per query.
"""


@BBOX_ATTENTION_REGISTRY.register()
class BBoxAttention(nn.Module):
    """Softmax maps of every query over the cells of the encoded image; no values, only weights."""

    @configurable
    def __init__(
        self,
        *,
        hidden_dim: int,
        num_maps: int = 8,
        normalize: Literal["joint", "per_head"] = "joint",
    ) -> None:
        """
        Args:
            hidden_dim: channels d of queries and image.
            num_maps: number M of attention heads, one map each; it divides d.
            normalize: "joint" lets the M maps of a query sum to 1 together: the published
                weights were trained so (a known bug of the reference code). "per_head" lets each
                map sum to 1, as in ordinary attention; slightly better in new trainings.

        Raises:
            ValueError: M does not divide d, or normalize is neither of the two.
        """
        super().__init__()
        if hidden_dim % num_maps:
            raise ValueError(
                f"MODEL.DETR.HIDDEN_DIM is {hidden_dim}; allowed: a multiple of "
                f"MODEL.DETR.BBOX_ATTENTION.NHEADS, {num_maps}"
            )
        if normalize not in ("joint", "per_head"):
            raise ValueError(
                f"MODEL.DETR.BBOX_ATTENTION.NORMALIZE is {normalize!r}; "
                "allowed: 'joint', 'per_head'"
            )
        self.num_maps = num_maps
        self.normalize = normalize
        self.scale = (hidden_dim / num_maps) ** -0.5
        self.q_linear = nn.Linear(hidden_dim, hidden_dim)
        self.k_linear = nn.Linear(hidden_dim, hidden_dim)
        for linear in (self.q_linear, self.k_linear):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        detr = cfg.MODEL.DETR
        return {
            "hidden_dim": detr.HIDDEN_DIM,
            "num_maps": detr.BBOX_ATTENTION.NHEADS,
            "normalize": detr.BBOX_ATTENTION.NORMALIZE,
        }

    def forward(self, queries: Tensor, image: Tensor, padding: Tensor) -> Tensor:
        """Compare box embeddings with the encoded image.

        Args:
            queries: box embeddings (N, Q, d).
            image: encoded image (N, d, h, w).
            padding: bool (N, h, w), True = padding; its weight is 0.

        Returns:
            (N, Q, M, h, w), sums as `normalize` says.
        """
        query = self.q_linear(queries).unflatten(2, (self.num_maps, -1)) * self.scale
        # A linear layer over channels is a 1 x 1 convolution of the map.
        key = F.conv2d(image, self.k_linear.weight[:, :, None, None], self.k_linear.bias)
        key = key.unflatten(1, (self.num_maps, -1))
        weights = torch.einsum("nqmc,nmchw->nqmhw", query, key)
        weights = weights.masked_fill(padding[:, None, None], float("-inf"))
        start = 2 if self.normalize == "joint" else 3
        return weights.flatten(start).softmax(-1).view_as(weights)
