"""The FPN mask head computed the plain way: all queries, everything repeated per query.

Kept as the yardstick of `tools/benchmark` and of the tests; the package computes the same faster.
"""

from detr_d2.modeling import FPNMaskHead

import torch
from torch import Tensor
from torch.nn import functional as F


def dense_masks(
    head: FPNMaskHead, image: Tensor, attention: Tensor, features: list[Tensor]
) -> Tensor:
    """Predict the masks of all queries.

    Args:
        head: gives the weights.
        image: (N, d, h, w).
        attention: (N, Q, M, h, w).
        features: backbone features (N, C_k, h_k, w_k), coarse to fine.

    Returns:
        (N, Q, h_last, w_last) of mask logits.
    """
    queries = attention.shape[1]
    x = torch.cat([image.repeat_interleave(queries, 0), attention.flatten(0, 1)], dim=1)
    x = F.relu(head.norms[0](head.convs[0](x)))
    x = F.relu(head.norms[1](head.convs[1](x)))
    for conv, norm, adapter, feature in zip(
        head.convs[2:], head.norms[2:], head.adapters, features, strict=True
    ):
        lateral = adapter(feature).repeat_interleave(queries, 0)
        x = F.interpolate(x, size=lateral.shape[-2:], mode="nearest") + lateral
        x = F.relu(norm(conv(x)))
    return head.output(x).view(len(image), queries, *features[-1].shape[-2:])
