"""One layer of DETR's encoder and of its decoder (DETR paper, appendix A.3).

Legend: N images, S = h * w cells of the image, Q queries, G query groups, d channels.
"""

from collections.abc import Callable

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
