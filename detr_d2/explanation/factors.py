"""Encoder self-attention as two thin factors, from which any row or column can be computed again.

The weights of one layer are A x S x S numbers, the queries and keys that make them A x S x d / A.
Only these go into the page, which multiplies them itself. Softmax ignores what is equal for all
keys of a row, so the mean key is taken off; a singular value decomposition of each head's logits
then sorts what is left by size, and one rounding step for all components lets the small ones
vanish.

Legend: A heads, S cells, r components (at most d / A).
"""

import math

import torch
from torch import Tensor

from detr_d2.explanation.capture import AttentionCall

# Weights that are in memory at a time: all of an image of 6000 x 4000 pixels would take 35 GB.
AT_ONCE = 2**24


def attention_factors(call: AttentionCall) -> tuple[Tensor, Tensor]:
    """Balanced factors (A, r, S) of the logits of the first image, queries and keys.

    softmax(queries[a].T @ keys[a]) equals the attention weights of head a. Components are in order
    of their singular values, and queries and keys share each singular value evenly.
    """
    query, key = (x[0].double() for x in call.projections())
    key = key - key.mean(1, keepdim=True)
    # The SVD of query @ key.T by way of two thin QR decompositions.
    (q, left), (k, right) = torch.linalg.qr(query), torch.linalg.qr(key)
    u, values, vh = torch.linalg.svd(left @ right.transpose(1, 2))
    root = values.sqrt()[:, None]
    return ((q @ u) * root).transpose(1, 2), ((k @ vh.transpose(1, 2)) * root).transpose(1, 2)


def rounding_step(queries: Tensor, keys: Tensor, error: float) -> float:
    """Distance of two levels at which the logits are off by `error` on (quadratic) average."""
    # Rounding adds step^2 / 12 of variance to each element of a factor.
    power = (queries.square().sum(1) + keys.square().sum(1)).mean().item()
    return error * math.sqrt(12 / max(power, 1e-12))


def weights_of_factors(queries: Tensor, keys: Tensor) -> Tensor:
    """Attention weights (A, S, S) as the page computes them."""
    return (queries.transpose(1, 2) @ keys).softmax(-1)


def largest_error(call: AttentionCall, queries: Tensor, keys: Tensor) -> float:
    """Largest error of the factors' weights, as a share of the largest weight of its row."""
    heads, cells = queries.shape[0], queries.shape[-1]
    step = max(1, AT_ONCE // (heads * cells))
    worst = 0.0
    for start in range(0, cells, step):
        rows = slice(start, start + step)
        exact = call.weights(rows)[0].double()
        ours = weights_of_factors(queries[..., rows], keys)
        worst = max(worst, ((ours - exact).abs() / exact.amax(-1, keepdim=True)).max().item())
    return worst
