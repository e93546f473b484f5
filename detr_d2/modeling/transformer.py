"""DETR's transformer (DETR paper, section 3.2 and appendix A.3).

Legend: N images, S = h * w cells of the image, Q queries, G query groups, L decoder
layers, d channels.
Positions are added to queries and keys of every attention, never to values.
Parameter names and shapes are those of the published weights.
"""

from collections.abc import Callable

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn
from torch.nn import functional as F


class _Layer(nn.Module):
    """Parts that encoder and decoder layers share: self-attention and feed-forward."""

    def __init__(
        self,
        hidden_dim: int,
        nheads: int,
        dim_feedforward: int,
        dropout: float,
        pre_norm: bool,
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.linear1 = nn.Linear(hidden_dim, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.norm1 = nn.LayerNorm(hidden_dim)
        self.norm2 = nn.LayerNorm(hidden_dim)
        self.self_attn = nn.MultiheadAttention(hidden_dim, nheads, dropout, batch_first=True)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(F.relu(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention over the image, then feed-forward."""

    def forward(self, image: Tensor, padding: Tensor | None, position: Tensor) -> Tensor:
        """(N, S, d), padding (N, S) or None, position (N, S, d) -> (N, S, d)."""

        def attend(x: Tensor) -> Tensor:
            key = x + position
            return self.self_attn(key, key, x, key_padding_mask=padding, need_weights=False)[0]

        image = _residual(image, attend, self.norm1, self.dropout, self.pre_norm)
        return _residual(image, self._feed_forward, self.norm2, self.dropout, self.pre_norm)


class TransformerDecoderLayer(_Layer):
    """Self-attention over the queries, attention to the image, then feed-forward."""

    def __init__(
        self,
        hidden_dim: int,
        nheads: int,
        dim_feedforward: int,
        dropout: float,
        pre_norm: bool,
    ) -> None:
        super().__init__(hidden_dim, nheads, dim_feedforward, dropout, pre_norm)
        self.norm3 = nn.LayerNorm(hidden_dim)
        self.multihead_attn = nn.MultiheadAttention(hidden_dim, nheads, dropout, batch_first=True)

    def forward(
        self,
        queries: Tensor,
        image: Tensor,
        padding: Tensor | None,
        query_position: Tensor,
        image_position: Tensor,
    ) -> Tensor:
        """(N G, Q, d), (N, S, d), (N, S), (N G, Q, d), (N, S, d) -> (N G, Q, d).

        The groups of an image follow each other. Only self-attention keeps them apart, so that
        keys and values of the image are computed once for all of them.
        """
        image_key = image + image_position

        def attend_queries(x: Tensor) -> Tensor:
            key = x + query_position
            return self.self_attn(key, key, x, need_weights=False)[0]

        def attend_image(x: Tensor) -> Tensor:
            query = (x + query_position).reshape(len(image), -1, x.shape[-1])
            return self.multihead_attn(
                query, image_key, image, key_padding_mask=padding, need_weights=False
            )[0].reshape(x.shape)

        queries = _residual(queries, attend_queries, self.norm1, self.dropout, self.pre_norm)
        queries = _residual(queries, attend_image, self.norm2, self.dropout, self.pre_norm)
        return _residual(queries, self._feed_forward, self.norm3, self.dropout, self.pre_norm)


def _residual(
    x: Tensor,
    sublayer: Callable[[Tensor], Tensor],
    norm: nn.Module,
    dropout: nn.Module,
    pre_norm: bool,
) -> Tensor:
    if pre_norm:
        return x + dropout(sublayer(norm(x)))
    return norm(x + dropout(sublayer(x)))


class Transformer(nn.Module):
    """Encoder over the image, decoder over the object queries."""

    @configurable
    def __init__(
        self,
        *,
        hidden_dim: int = 256,
        nheads: int = 8,
        dim_feedforward: int = 2048,
        enc_layers: int = 6,
        dec_layers: int = 6,
        dropout: float = 0.1,
        pre_norm: bool = False,
    ) -> None:
        """
        Args:
            hidden_dim: channels d, a multiple of nheads; all defaults are those of DETR R-50.
            nheads: attention heads.
            dim_feedforward: width of the feed-forward parts.
            enc_layers, dec_layers: number of layers.
            dropout: probability.
            pre_norm: normalise before each sub-layer instead of after it.

        Raises:
            ValueError: nheads does not divide hidden_dim.
        """
        super().__init__()
        if hidden_dim % nheads:
            raise ValueError(
                f"MODEL.DETR.HIDDEN_DIM is {hidden_dim}; allowed: a multiple of "
                f"MODEL.DETR.NHEADS, {nheads}"
            )
        self.hidden_dim = hidden_dim
        layer = (hidden_dim, nheads, dim_feedforward, dropout, pre_norm)
        self.encoder = TransformerEncoder(layer, enc_layers)
        self.decoder = TransformerDecoder(layer, dec_layers)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        detr = cfg.MODEL.DETR
        return {
            "hidden_dim": detr.HIDDEN_DIM,
            "nheads": detr.NHEADS,
            "dim_feedforward": detr.DIM_FEEDFORWARD,
            "enc_layers": detr.ENC_LAYERS,
            "dec_layers": detr.DEC_LAYERS,
            "dropout": detr.DROPOUT,
            "pre_norm": detr.PRE_NORM,
        }

    def forward(
        self,
        image: Tensor,
        padding: Tensor | None,
        query_position: Tensor,
        image_position: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Encode the image and decode the queries.

        Args:
            image: (N, d, h, w), the projected last backbone feature.
            padding: bool (N, h, w), True = padding; such cells influence nothing. None where there
                is none, so that nobody has to look.
            query_position: (G, Q, d), the learned queries, G groups that do not see each other.
            image_position: (N, d, h, w).

        Returns:
            Box embeddings after every decoder layer (G, L, N, Q, d), and the encoded image
            (N, d, h, w), whose values at padded cells are meaningless.
        """
        shape = image.shape
        image = image.flatten(2).transpose(1, 2)
        image_position = image_position.flatten(2).transpose(1, 2)
        # Where nothing is padded no mask is needed, and attention takes a faster way.
        mask = padding.flatten(1) if padding is not None and padding.any() else None
        memory = self.encoder(image, mask, image_position)
        groups, batch = len(query_position), len(image)
        query_position = query_position.repeat(batch, 1, 1)
        queries = self.decoder(
            torch.zeros_like(query_position), memory, mask, query_position, image_position
        )
        queries = queries.unflatten(1, (batch, groups)).movedim(2, 0)
        return queries, memory.transpose(1, 2).reshape(shape)


class TransformerEncoder(nn.Module):
    """A stack of encoder layers; pre-norm stacks end with a norm of their own."""

    def __init__(self, layer: tuple[int, int, int, float, bool], num_layers: int) -> None:
        super().__init__()
        hidden_dim, pre_norm = layer[0], layer[-1]
        self.layers = nn.ModuleList(TransformerEncoderLayer(*layer) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_dim) if pre_norm else nn.Identity()

    def forward(self, image: Tensor, padding: Tensor | None, position: Tensor) -> Tensor:
        """(N, S, d), padding (N, S) or None, position (N, S, d) -> (N, S, d)."""
        for layer in self.layers:
            image = layer(image, padding, position)
        return self.norm(image)


class TransformerDecoder(nn.Module):
    """A stack of decoder layers that returns the normalised output of every layer."""

    def __init__(self, layer: tuple[int, int, int, float, bool], num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerDecoderLayer(*layer) for _ in range(num_layers))
        self.norm = nn.LayerNorm(layer[0])

    def forward(
        self,
        queries: Tensor,
        image: Tensor,
        padding: Tensor | None,
        query_position: Tensor,
        image_position: Tensor,
    ) -> Tensor:
        """(N G, Q, d), (N, S, d), (N, S), (N G, Q, d), (N, S, d) -> (L, N G, Q, d)."""
        outputs = []
        for layer in self.layers:
            queries = layer(queries, image, padding, query_position, image_position)
            outputs.append(self.norm(queries))
        return torch.stack(outputs)
