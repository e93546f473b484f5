"""DETR's losses as pure functions (DETR paper, appendix A.2). Sums, to be normalised by the caller.

Legend: L decoder layers, T matched pairs; of masks, those of one image: (h, w) size of the mask
head's logits, (H, W) size of the image. Classes and boxes take and return float32.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F
from torchvision.ops import box_convert, generalized_box_iou_loss

from detr_d2.ops.masks import Size, resize, unpad

# Pixels at a time; on a CPU a map of so many stays in the cache, a GPU wants many more.
CPU_PIXELS, GPU_PIXELS = 2**20, 2**24
# Share of the mask's pixels in the focal loss; the others weigh 1 - ALPHA. Gamma is 2.
ALPHA = 0.25


def class_loss(
    logits: Tensor,
    classes: Tensor,
    no_object_weight: float,
    mean_over_processes: Callable[[Tensor], Tensor] = lambda total: total,
) -> Tensor:
    """Cross-entropy in which "no object" weighs less.

    Args:
        logits: (L, N, Q, K + 1).
        classes: int64 (L, N, Q), K = no object.
        no_object_weight: weight of class K; all others weigh 1.
        mean_over_processes: of the sum of weights (L,), where several processes share a batch.

    Returns:
        (L,), the weighted mean over all queries of all images. In several processes their mean is
        the weighted mean over the queries of all of them.
    """
    no_object = logits.shape[-1] - 1
    loss = F.cross_entropy(logits.flatten(0, 2), classes.flatten(), reduction="none")
    weight = torch.where(classes == no_object, no_object_weight, 1.0)
    # Without any object and with a weight of 0 for "no object" nothing counts.
    total = mean_over_processes(weight.sum((1, 2))).clamp(min=1e-6)
    return (loss.view_as(weight) * weight).sum((1, 2)) / total


def l1_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Sum of |difference| of cxcywh boxes (L, T, 4): (L,)."""
    return (boxes - targets).abs().sum((1, 2))


def generalized_iou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Sum of 1 - generalized IoU of cxcywh boxes (L, T, 4): (L,)."""
    pairs = [box_convert(x.flatten(0, 1), "cxcywh", "xyxy") for x in (boxes, targets)]
    # Boxes are fractions: the usual guard of 1e-7 would be 1 % of the area of a small one.
    return generalized_box_iou_loss(*pairs, eps=1e-12).view(boxes.shape[:2]).sum(1)


def mask_losses(logits: Tensor, masks: Tensor, extent: Size) -> tuple[Tensor, Tensor]:
    """Focal and dice loss at the image's size, each summed over the masks; differentiable once.

    Args:
        logits: float32 or float64 (T, h, w), over the `extent`; T may be 0.
        masks: bool (T, H, W).
        extent: size that the logits cover, from the upper left corner, pixels; at least (H, W).

    Returns:
        Focal loss (alpha 0.25, gamma 2), the mean over the pixels of each mask, and dice loss
        1 - (2 |A B| + 1) / (|A| + |B| + 1), with probabilities A and masks B.
    """
    return _MaskLosses.apply(logits, masks, extent)


class _MaskLosses(Function):
    """Value and gradient together.

    Autograd would keep a dozen maps (T, H, W), more than the whole mask head needs. But the
    gradient of either loss has a closed form, and what the mask head wants of it has the size
    (h, w). So both are computed some masks at a time, and only the small gradients are kept.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, logits: Tensor, masks: Tensor, extent: Size
    ) -> tuple[Tensor, Tensor]:
        size = masks.shape[-2], masks.shape[-1]
        # Unpadding is linear along either side: a matrix (H, h) and a matrix (W, w).
        down = _matrix(logits, logits.shape[1], extent[0], size[0])
        right = _matrix(logits, logits.shape[2], extent[1], size[1])
        totals = logits.new_zeros(2)
        gradients = logits.new_empty(2, *logits.shape)
        pixels = CPU_PIXELS if logits.device.type == "cpu" else GPU_PIXELS
        count = max(1, pixels // max(1, size[0] * size[1]))
        for start in range(0, len(logits), count):
            rows = slice(start, start + count)
            values, enlarged = _values_and_gradients(
                unpad(logits[rows], extent, size), masks[rows].to(logits.dtype)
            )
            totals += values
            gradients[:, rows] = down.T @ (enlarged @ right)
        ctx.save_for_backward(gradients)
        return totals[0], totals[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, focal: Tensor, dice: Tensor) -> tuple[Tensor, None, None]:
        (gradients,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * focal + gradients[1] * dice, None, None


def _values_and_gradients(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both losses (2,) of logits x for masks y of zeros and ones, and their gradients (2, T, H, W).

    With z = x (1 - 2 y), the logit of being wrong, and q = sigmoid(z):
    focal = a q^2 softplus(z), d focal / dz = a q^2 (2 (1 - q) softplus(z) + q);
    dice = 1 - n / m with n = 2 sum(p y) + 1 and m = sum(p) + sum(y) + 1, where p = sigmoid(x),
    d dice / dx = p (1 - p) (n / m - 2 y) / m, and p (1 - p) = q (1 - q).
    """
    gradients = x.new_empty(2, *x.shape)
    sign = 1 - 2 * y
    z = x * sign
    wrong, entropy = z.sigmoid(), F.softplus(z)
    correct = 1 - wrong
    weight = y.mul(2 * ALPHA - 1).add_(1 - ALPHA)
    weight.mul_(wrong).mul_(wrong).div_(x[0].numel())
    focal = (weight * entropy).sum()
    torch.mul(correct, entropy, out=gradients[0]).mul_(2).add_(wrong).mul_(weight).mul_(sign)

    probability = torch.addcmul(y, wrong, sign)
    total = probability.sum((1, 2)) + y.sum((1, 2)) + 1
    share = (2 * (probability * y).sum((1, 2)) + 1) / total
    slope = (share[:, None, None] - 2 * y) / total[:, None, None]
    torch.mul(wrong, correct, out=gradients[1]).mul_(slope)
    return torch.stack([focal, (1 - share).sum()]), gradients


def _matrix(like: Tensor, cells: int, extent: int, size: int) -> Tensor:
    """Matrix (size, cells) of the bilinear resize to `extent`, of which `size` are kept."""
    columns = torch.eye(cells, dtype=like.dtype, device=like.device)[:, :, None]
    return resize(columns, (extent, 1))[:, :size, 0].T
