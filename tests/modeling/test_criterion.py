import math
from types import SimpleNamespace

import pytest
import torch

from detr_d2.modeling import criterion, losses
from detr_d2.modeling.criterion import SetCriterion, metrics, target_classes
from detr_d2.modeling.matcher import HungarianMatcher, Matching, Targets

WEIGHTS = {"class": 1.0, "l1": 5.0, "giou": 2.0, "focal": 1.0, "dice": 1.0}
BOX, OTHER = [0.5, 0.5, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]


def make_criterion(**changes) -> SetCriterion:
    arguments = {
        "matcher": HungarianMatcher(cost_class=1.0, cost_l1=5.0, cost_giou=2.0),
        "weights": WEIGHTS,
        "no_object_weight": 0.1,
        "deep_supervision": True,
        "mask_score_thresh": 0.0,
    }
    return SetCriterion(**(arguments | changes))


def half_empty() -> Targets:
    """Image 0, 4 x 8 pixels, has one object, its left half; image 1, 8 x 4, has none."""
    mask = torch.zeros(1, 4, 8, dtype=torch.bool)
    mask[:, :, :4] = True
    return Targets(
        counts=[1, 0],
        classes=torch.tensor([1]),
        boxes=torch.tensor([BOX]),
        masks=[mask, torch.zeros(0, 8, 4, dtype=torch.bool)],
    )


def perfect_outputs(layers: int = 2):
    """K = 2, Q = 3; query 2 of image 0 is right, everything else is surely "no object"."""
    logits = torch.zeros(layers, 2, 3, 3)
    logits[..., 2] = 40.0
    logits[:, 0, 2] = torch.tensor([0.0, 40.0, 0.0])
    boxes = torch.tensor(OTHER).repeat(layers, 2, 3, 1)
    boxes[:, 0, 2] = torch.tensor(BOX)
    return logits.requires_grad_(), boxes.requires_grad_()


def box_losses(criterion, logits, boxes, targets):
    return criterion.group_losses(logits[None], boxes[None], targets)[0]


def test_perfect_prediction_costs_nothing():
    losses = box_losses(make_criterion(), *perfect_outputs(), half_empty())
    assert {k: round(v.item(), 4) for k, v in losses.items()} == dict.fromkeys(
        ["loss_class_0", "loss_class", "loss_l1_0", "loss_l1", "loss_giou_0", "loss_giou"], 0.0
    )


def test_the_loss_of_the_last_layer_has_no_number():
    """Of three layers the second is wrong in nothing but its box; then the last one is."""
    for wrong, name in ((1, "loss_l1_1"), (2, "loss_l1")):
        logits, boxes = (x.detach().clone() for x in perfect_outputs(layers=3))
        boxes[wrong, 0, 2, 0] += 0.1
        losses = box_losses(make_criterion(), logits, boxes, half_empty())
        assert [k for k, v in losses.items() if "l1" in k and v > 0] == [name]


def test_losses_are_weighted_and_divided_by_the_number_of_objects():
    logits, boxes = perfect_outputs(layers=1)
    boxes = boxes.detach().clone()
    boxes[0, 0, 2] = torch.tensor(OTHER)
    # Two objects in image 0, both a box off by 0.25 in x and y: mean L1 = 0.5, times 5.
    targets = half_empty()
    targets.counts, targets.classes = [2, 0], torch.tensor([1, 1])
    targets.boxes = torch.tensor([BOX, BOX])
    losses = box_losses(make_criterion(), logits, boxes, targets)
    assert losses["loss_l1"].item() == pytest.approx(5 * 0.5)
    # Squares of side 1/2, overlap 1/16, union 7/16, hull 9/16: GIoU = 1/7 - 2/9.
    assert losses["loss_giou"].item() == pytest.approx(2 * (1 - (1 / 7 - 2 / 9)), rel=1e-4)


def test_zero_weight_switches_a_loss_off():
    losses = box_losses(
        make_criterion(weights=WEIGHTS | {"giou": 0.0}), *perfect_outputs(), half_empty()
    )
    assert set(losses) == {"loss_class_0", "loss_class", "loss_l1_0", "loss_l1"}


def test_without_deep_supervision_only_the_last_layer_counts():
    criterion = make_criterion(deep_supervision=False)
    losses = box_losses(criterion, *perfect_outputs(layers=3), half_empty())
    assert set(losses) == {"loss_class", "loss_l1", "loss_giou"}
    for wrong in range(3):
        logits, boxes = (x.detach().clone() for x in perfect_outputs(layers=3))
        boxes[wrong, 0, 2, 0] += 0.1
        losses = box_losses(criterion, logits, boxes, half_empty())
        assert (losses["loss_l1"] > 0) == (wrong == 2)


def test_all_images_empty_trains_no_object_only_and_keeps_the_graph():
    targets = Targets(
        counts=[0, 0],
        classes=torch.zeros(0, dtype=torch.int64),
        boxes=torch.zeros(0, 4),
        masks=[torch.zeros(0, 4, 8, dtype=torch.bool), torch.zeros(0, 8, 4, dtype=torch.bool)],
    )
    criterion, (logits, boxes) = make_criterion(), perfect_outputs(layers=1)
    losses, matching = criterion.group_losses(logits[None], boxes[None], targets)
    # One of six queries, equally weighted, claims an object with certainty 40.
    assert losses["loss_class"].item() == pytest.approx(40 / 6, rel=1e-4)
    assert losses["loss_l1"].item() == losses["loss_giou"].item() == 0
    masks = [torch.zeros(0, 2, 2, requires_grad=True), torch.zeros(0, 2, 2, requires_grad=True)]
    selected = criterion.select(logits[-1], matching)
    losses |= criterion.mask_losses(masks, targets, selected, [(8, 8)] * 2)
    assert losses["loss_focal"].item() == losses["loss_dice"].item() == 0
    sum(losses.values()).backward()
    assert logits.grad is not None and boxes.grad is not None and masks[0].grad is not None


def mask_losses(criterion, logits):
    """Loss of one 2 x 2 mask (padded to 8 x 8) for the object of image 0."""
    class_logits, boxes = perfect_outputs()
    targets = half_empty()
    matching = criterion.matcher(class_logits, boxes, targets)
    selected = criterion.select(class_logits[-1], matching)
    masks = [logits, torch.zeros(0, 2, 2)]
    return criterion.mask_losses(masks, targets, selected, [(8, 8)] * 2)


def test_padding_takes_no_part_in_the_mask_losses():
    # Row 0 covers the image (4 x 8, padded to 8 x 8), row 1 is padding but for the blend.
    good = torch.tensor([[[60.0, -60.0], [60.0, -60.0]]])
    losses = mask_losses(make_criterion(), good)
    assert losses["loss_dice"].item() < 0.05
    unsure = mask_losses(make_criterion(), torch.zeros(1, 2, 2))
    # p = 1/2, half of 32 pixels true: focal log 2 / 4 * (0.25 + 0.75) / 2; dice 1 - 17 / 33.
    assert unsure["loss_focal"].item() == pytest.approx(math.log(2) / 8)
    assert unsure["loss_dice"].item() == pytest.approx(1 - 17 / 33)
    weighted = make_criterion(weights={"focal": 3.0, "dice": 7.0})
    assert mask_losses(weighted, torch.zeros(1, 2, 2)) == {
        "loss_focal": pytest.approx(3 * math.log(2) / 8),
        "loss_dice": pytest.approx(7 * (1 - 17 / 33)),
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_masks_of_16_bits_cost_what_the_same_numbers_cost_in_32(dtype):
    logits = torch.tensor([[[0.3, -0.2], [1.7, 0.9]]]).to(dtype)
    found = mask_losses(make_criterion(), logits)
    assert {loss.dtype for loss in found.values()} == {torch.float32}
    expected = mask_losses(make_criterion(), logits.float())
    torch.testing.assert_close(found, expected)


def test_masks_can_be_limited_to_confident_queries():
    criterion, (logits, boxes) = make_criterion(mask_score_thresh=0.9), perfect_outputs()
    matching = criterion.matcher(logits, boxes, half_empty())
    assert criterion.select(logits[-1], matching).query.tolist() == [[2]]
    unsure = criterion.select(logits[-1] * 0.01, matching)
    assert unsure.query.shape == (1, 0)
    # Sure of no object is not sure of a class.
    nothing = torch.tensor([0.0, 0.0, 40.0]).expand(2, 3, 3)
    assert criterion.select(nothing, matching).query.shape == (1, 0)
    # Two classes share all: a query at the threshold is left out.
    half = torch.tensor([40.0, 40.0, -1000.0]).expand(2, 3, 3)
    for limit, expected in ((0.5, []), (0.49, [2])):
        criterion.mask_score_thresh = limit
        assert criterion.select(half, matching).query.tolist() == [expected]


def test_masks_of_an_image_are_those_of_its_own_targets_where_another_image_has_no_pair():
    """One object in each image; only that of image 1, its upper half, is learned."""
    upper = torch.zeros(1, 8, 4, dtype=torch.bool)
    upper[:, :4] = True
    targets = half_empty()
    targets.counts, targets.classes = [1, 1], torch.tensor([1, 0])
    targets.boxes, targets.masks = torch.tensor([BOX, BOX]), [targets.masks[0], upper]
    only_last = Matching(torch.tensor([1]), torch.tensor([[0]]), torch.tensor([[1]]))
    right = torch.tensor([[[60.0], [-60.0]]])
    found = make_criterion().mask_losses(
        [torch.zeros(0, 1, 2), right], targets, only_last, [(4, 8), (8, 4)]
    )
    assert found["loss_dice"].item() < 0.1 and found["loss_focal"].item() < 0.1


def test_target_classes_are_no_object_but_for_the_matched():
    logits, boxes = perfect_outputs(layers=1)
    matching = make_criterion().matcher(logits, boxes, half_empty())
    classes = target_classes(logits, half_empty(), matching)
    assert classes.tolist() == [[[2, 2, 1], [2, 2, 2]]]


def test_the_matching_is_that_of_the_first_group():
    """Query 2 is right in the first group, query 0 in the second; two layers each."""
    logits, boxes = perfect_outputs()
    groups = [torch.stack([x, x.flip(2)]) for x in (logits, boxes)]
    _, matching = make_criterion().group_losses(*groups, half_empty())
    assert matching.query.tolist() == [[2], [2]] and matching.target.tolist() == [[0], [0]]


def test_metrics_are_percent_and_counts():
    logits, boxes = perfect_outputs(layers=1)
    targets = half_empty()
    matching = make_criterion().matcher(logits, boxes, targets)
    assert metrics(logits[-1], targets, matching) == {"class_error": 0.0, "cardinality_error": 0.0}
    wrong = torch.zeros(2, 3, 3)
    wrong[..., 0] = 1.0
    # Three objects claimed per image, one and none are there: (2 + 3) / 2.
    assert metrics(wrong, targets, matching) == {"class_error": 100.0, "cardinality_error": 2.5}
    # One too few and one too many do not cancel: the other way round as it is.
    swapped = logits[-1].flip(0)
    assert metrics(swapped, targets, matching)["cardinality_error"] == 1.0


def test_unknown_loss_names_are_rejected():
    with pytest.raises(ValueError, match=r"\['bce'\].*focal"):
        make_criterion(weights={"bce": 1.0})


def test_processes_share_the_weights_of_the_class_loss_and_the_number_of_objects(monkeypatch):
    """The other process has 3 objects more, and 8.5 more weight in each of two layers."""
    other = {(): 3.0, (2,): 8.5}

    def add_other(value):
        value += other[tuple(value.shape)]

    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", add_other)
    targets = SimpleNamespace(classes=torch.zeros(2, dtype=torch.int64))
    assert criterion.normalizer(targets) == 2.5
    # Two queries: a class and "no object", the weights are 1 and 0.1.
    logits = torch.zeros(2, 1, 2, 4)
    loss = losses.class_loss(
        logits, torch.tensor([[[0, 3]]] * 2), 0.1, criterion.mean_over_processes
    )
    expected = 1.1 * math.log(4) / ((1.1 + 8.5) / 2)
    assert loss.tolist() == pytest.approx([expected] * 2)


def test_every_loss_is_normalised_over_all_processes(monkeypatch):
    """All processes hold three times what this one does: half of that is 1.5 times as much."""
    logits, boxes = torch.zeros(2, 2, 3, 3), torch.tensor(OTHER).repeat(2, 2, 3, 1)

    def all_losses():
        found = box_losses(make_criterion(), logits, boxes, half_empty())
        return found | mask_losses(make_criterion(), torch.zeros(1, 2, 2))

    alone = all_losses()
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda value: value.mul_(3))
    assert len(alone) == 8
    for name, loss in all_losses().items():
        assert loss.item() == pytest.approx(alone[name].item() / 1.5), name


def test_an_object_in_one_of_two_processes_counts_as_in_one_process(monkeypatch):
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda value: None)
    targets = SimpleNamespace(classes=torch.zeros(1, dtype=torch.int64))
    # The gradients' mean over the processes halves once more.
    assert criterion.normalizer(targets) == 0.5
    targets.classes = targets.classes[:0]
    assert criterion.normalizer(targets) == 0.5
