import math

import pytest
import torch

from detr_d2.modeling import losses


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


def test_focal_loss_by_hand():
    # p = 1/2 everywhere: (1/2)^2 * log 2, times 0.25 inside and 0.75 outside of the mask.
    logits, targets = torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    expected = 0.25 * math.log(2) * (0.25 + 3 * 0.75) / 4
    assert losses.focal_loss(logits, targets).item() == pytest.approx(expected)


def test_dice_loss_by_hand():
    # Probabilities 1/2 on four pixels, one of them true: 1 - (2 * 0.5 + 1) / (2 + 1 + 1).
    logits, targets = torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert losses.dice_loss(logits, targets).item() == pytest.approx(0.5)
    assert losses.dice_loss(200 * targets - 100, targets).item() == pytest.approx(0.0, abs=1e-6)


def test_nothing_matched_costs_nothing_and_keeps_the_graph():
    masks = torch.zeros(0, 4, requires_grad=True)
    boxes = torch.zeros(3, 0, 4, requires_grad=True)
    total = losses.focal_loss(masks, masks.detach()) + losses.dice_loss(masks, masks.detach())
    total = total + losses.l1_loss(boxes, boxes.detach()).sum()
    total = total + losses.generalized_iou_loss(boxes, boxes.detach()).sum()
    assert total.item() == 0
    total.backward()
