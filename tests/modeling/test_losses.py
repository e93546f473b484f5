import math

import pytest
import torch
from fvcore.nn import sigmoid_focal_loss
from torch.nn import functional as F

from detr_d2.modeling import losses
from detr_d2.modeling.losses import mask_losses

# Of the mask head's logits, of the area that they cover, of the image.
SIZES = [((3, 5), (12, 20), (12, 20)), ((3, 5), (12, 20), (9, 14)), ((2, 3), (7, 5), (7, 5))]


def test_class_loss_is_a_weighted_mean():
    # Two queries, K = 1: a sure hit of class 0 costs log(1 + e^-2), an undecided "no object" log 2.
    logits = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]])
    value = losses.class_loss(logits, torch.tensor([[[0, 1]]]), no_object_weight=0.1)
    expected = (math.log(1 + math.exp(-2)) + 0.1 * math.log(2)) / 1.1
    assert value.tolist() == pytest.approx([expected])


def test_class_loss_keeps_layers_apart():
    logits = torch.zeros(2, 1, 3, 4)
    logits[1, ..., 2] = 30.0
    value = losses.class_loss(logits, torch.full((2, 1, 3), 2), 0.1)
    assert value.tolist() == pytest.approx([math.log(4), 0.0], abs=1e-6)


def test_l1_and_giou_of_equal_boxes_are_zero():
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.3, 0.3, 0.1, 0.1]]])
    assert losses.l1_loss(boxes, boxes).tolist() == [0.0]
    assert losses.generalized_iou_loss(boxes, boxes).tolist() == pytest.approx([0.0], abs=1e-5)


def test_l1_and_giou_by_hand():
    # Two 0.2 x 0.4 boxes 0.6 apart: see the hull in test_matcher; 1 - GIoU = 1.5.
    a = torch.tensor([[[0.2, 0.5, 0.2, 0.4]]])
    b = torch.tensor([[[0.8, 0.5, 0.2, 0.4]]])
    assert losses.l1_loss(a, b).tolist() == pytest.approx([0.6])
    assert losses.generalized_iou_loss(a, b).tolist() == pytest.approx([1.5])


def test_nothing_matched_costs_nothing_and_keeps_the_graph():
    boxes = torch.zeros(3, 0, 4, requires_grad=True)
    total = losses.l1_loss(boxes, boxes.detach()).sum()
    total = total + losses.generalized_iou_loss(boxes, boxes.detach()).sum()
    assert total.item() == 0
    total.backward()


def plain_losses(logits, masks, extent):
    """Both losses by autograd alone, at the size of the image."""
    height, width = masks.shape[-2:]
    x = F.interpolate(logits[None], size=extent, mode="bilinear")[0, :, :height, :width].flatten(1)
    y = masks.flatten(1).to(x.dtype)
    p = x.sigmoid()
    focal = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    focal = (focal * (0.25 * (1 - p) ** 2 * y + 0.75 * p**2 * (1 - y))).mean(1).sum()
    dice = 1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
    return focal, dice.sum()


def make(shape, size, count=5):
    generator = torch.Generator().manual_seed(count)
    logits = 4 * torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    masks = torch.rand(count, *size, generator=generator) > 0.6
    masks[0], masks[-1] = False, True
    return logits.requires_grad_(), masks


@pytest.mark.parametrize("pixels", [1, 500, 10**6])
@pytest.mark.parametrize(("shape", "extent", "size"), SIZES)
def test_values_and_gradients_are_those_of_autograd(monkeypatch, shape, extent, size, pixels):
    # One mask at a time, two of (12, 20), all.
    monkeypatch.setattr(losses, "CPU_PIXELS", pixels)
    logits, masks = make(shape, size)
    found, expected = mask_losses(logits, masks, extent), plain_losses(logits, masks, extent)
    torch.testing.assert_close(found, expected)
    for factors in ((1.0, 0.0), (0.0, 1.0), (0.3, 2.0)):
        gradients = [
            torch.autograd.grad(factors[0] * a + factors[1] * b, logits, retain_graph=True)[0]
            for a, b in (found, expected)
        ]
        torch.testing.assert_close(*gradients)


def test_focal_loss_is_that_of_fvcore():
    logits, masks = make((3, 5), (3, 5))
    focal, _ = mask_losses(logits, masks, (3, 5))
    pixels, targets = logits.flatten(1).float(), masks.flatten(1).float()
    expected = sigmoid_focal_loss(pixels, targets, alpha=0.25, gamma=2.0).mean(1).sum()
    torch.testing.assert_close(focal.float(), expected)


def test_focal_loss_manually():
    # p = 1/2 everywhere: (1/2)^2 * log 2, times 0.25 inside and 0.75 outside of the mask.
    focal, _ = mask_losses(torch.zeros(1, 1, 4), torch.tensor([[[1, 0, 0, 0]]]).bool(), (1, 4))
    assert focal.item() == pytest.approx(0.25 * math.log(2) * (0.25 + 3 * 0.75) / 4)


def test_dice_loss_manually():
    # Probabilities 1/2 on four pixels, one of them true: 1 - (2 * 0.5 + 1) / (2 + 1 + 1).
    mask = torch.tensor([[[1, 0, 0, 0]]]).bool()
    assert mask_losses(torch.zeros(1, 1, 4), mask, (1, 4))[1].item() == pytest.approx(0.5)
    found = mask_losses(200.0 * mask - 100, mask, (1, 4))
    assert [loss.item() for loss in found] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_certain_errors_have_a_finite_loss_and_gradient():
    mask = torch.tensor([[[True, False]]])
    logits = torch.tensor([[[-1e4, 1e4]]], requires_grad=True)
    focal, dice = mask_losses(logits, mask, (1, 2))
    # The logit itself, weighed 1/4 inside and 3/4 outside.
    assert focal.item() == pytest.approx((0.25 * 1e4 + 0.75 * 1e4) / 2)
    assert dice.item() == pytest.approx(1 - 1 / 3)
    (focal + dice).backward()
    assert logits.grad.tolist() == [[[-0.125, 0.375]]]


def test_no_masks_cost_nothing_and_keep_the_graph():
    logits = torch.zeros(0, 3, 5, requires_grad=True)
    focal, dice = mask_losses(logits, torch.zeros(0, 12, 20).bool(), (12, 20))
    assert focal.item() == dice.item() == 0
    (focal + dice).backward()
    assert logits.grad.shape == (0, 3, 5)
