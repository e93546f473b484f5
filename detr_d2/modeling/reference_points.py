"""Reference points: where each query looks first (arXiv:2108.06152, section 3.3; 2109.07107).

A plain query must learn from scratch where in the image it looks, and its box is predicted from
nothing. With a point of its own the query's position is written like the image's, so that
attention finds the cells around it, and the box head predicts the centre relative to the point.

Legend: Q queries, G query groups, d channels.
"""

import torch
from torch import Tensor, nn

from detr_d2.modeling.position_encoding import encode_places

# Standard deviation of the logits of uniformly distributed points.
SPREAD = 1.8


class ReferencePoints(nn.Module):
    """A linear map from query embeddings to points, which learn with them."""

    def __init__(self, hidden_dim: int, temperature: float) -> None:
        """Take d and the temperature of the image's position encoding."""
        super().__init__()
        self.temperature = temperature
        self.point = nn.Linear(hidden_dim, 2)
        # Embeddings start with a standard deviation of 1: points all over the image.
        nn.init.normal_(self.point.weight, std=SPREAD / hidden_dim**0.5)
        nn.init.zeros_(self.point.bias)

    def forward(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Place the queries.

        Args:
            queries: (G, Q, d), the learned embeddings.

        Returns:
            The positions that the transformer takes in their place, (G, Q, d), and the logits of
            the points' x and y, fractions of the unpadded image: (G, 1, 1, Q, 2), the same in all
            layers and images.
        """
        with torch.autocast(queries.device.type, enabled=False):
            # In 16 bits a point is off by pixels.
            logits = self.point(queries)
            x, y = logits.sigmoid().unbind(-1)
            return queries + encode_places(y, x, queries.shape[-1], self.temperature), (
                logits[:, None, None]
            )
