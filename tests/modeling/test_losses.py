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


def test_nothing_matched_costs_nothing_and_keeps_the_graph():
    boxes = torch.zeros(3, 0, 4, requires_grad=True)
    total = losses.l1_loss(boxes, boxes.detach()).sum()
    total = total + losses.generalized_iou_loss(boxes, boxes.detach()).sum()
    assert total.item() == 0
    total.backward()
