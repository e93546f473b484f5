import pytest
import torch
from detectron2.structures import Boxes, Instances, PolygonMasks

from detr_d2.modeling.matcher import HungarianMatcher, Targets

MATCHER = HungarianMatcher(cost_class=1.0, cost_l1=5.0, cost_giou=2.0)


def make_targets(*images: list[tuple[int, list[float]]]) -> Targets:
    rows = [row for image in images for row in image]
    return Targets(
        counts=[len(image) for image in images],
        classes=torch.tensor([c for c, _ in rows], dtype=torch.int64),
        boxes=torch.tensor([b for _, b in rows]).reshape(-1, 4),
        masks=None,
    )


LEFT, RIGHT = [0.2, 0.5, 0.2, 0.4], [0.8, 0.5, 0.2, 0.4]


def test_boxes_of_targets_are_fractions_of_their_own_image():
    """In images of 10 x 40 and of 20 x 50 (rows x columns)."""
    inputs = []
    for size, box in (((10, 40), [4.0, 1.0, 12.0, 6.0]), ((20, 50), [0.0, 10.0, 50.0, 20.0])):
        instances = Instances(size)
        instances.gt_boxes = Boxes(torch.tensor([box]))
        instances.gt_classes = torch.tensor([1])
        inputs.append({"instances": instances})
    targets = Targets.from_inputs(inputs, torch.device("cpu"), 2, with_masks=False)
    expected = torch.tensor([[0.2, 0.35, 0.2, 0.5], [0.5, 0.75, 1.0, 0.5]])
    torch.testing.assert_close(targets.boxes, expected)


def test_boxes_decide_when_classes_do_not():
    # Image 0: queries right, nowhere, left. Image 1: no object. Image 2: one object at query 1.
    boxes = torch.tensor([[RIGHT, [0.5, 0.1, 0.1, 0.1], LEFT]]).repeat(3, 1, 1)[None]
    boxes[0, 2] = torch.tensor([LEFT, RIGHT, LEFT])
    targets = make_targets([(0, LEFT), (1, RIGHT)], [], [(1, RIGHT)])
    matching = MATCHER(torch.zeros(1, 3, 3, 3), boxes, targets)
    assert matching.image.tolist() == [0, 0, 2]
    pairs = sorted(zip(matching.query[0].tolist(), matching.target[0].tolist(), strict=True))
    assert pairs == [(0, 1), (1, 2), (2, 0)]


def test_classes_decide_when_boxes_do_not():
    logits = torch.zeros(1, 1, 2, 3)
    logits[0, 0, 0, 1] = logits[0, 0, 1, 0] = 5.0
    boxes = torch.tensor(LEFT).expand(1, 1, 2, 4)
    matching = MATCHER(logits, boxes, make_targets([(0, LEFT), (1, LEFT)]))
    assert matching.query[0].tolist() == [0, 1]
    assert matching.target[0].tolist() == [1, 0]


def test_boxes_are_compared_by_the_sum_of_their_differences():
    """Query 0 is off by 0.3 in one number, query 1 by 0.2 in two: 0.3 < 0.4, but 0.3 > 0.283."""
    matcher = HungarianMatcher(cost_class=0.0, cost_l1=5.0, cost_giou=0.0)
    wanted = [0.5, 0.5, 0.2, 0.4]
    boxes = torch.tensor([[[[0.8, 0.5, 0.2, 0.4], [0.7, 0.7, 0.2, 0.4]]]])
    matching = matcher(torch.zeros(1, 1, 2, 2), boxes, make_targets([(0, wanted)]))
    assert matching.query.tolist() == [[0]]


def test_layers_are_matched_on_their_own():
    boxes = torch.tensor([[[LEFT, RIGHT]], [[RIGHT, LEFT]]])
    matching = MATCHER(torch.zeros(2, 1, 2, 3), boxes, make_targets([(0, LEFT), (1, RIGHT)]))
    assert matching.query.tolist() == [[0, 1], [0, 1]]
    assert matching.target.tolist() == [[0, 1], [1, 0]]


def test_more_objects_than_queries_match_every_query_once():
    boxes = torch.tensor([[[LEFT], [RIGHT]]])
    targets = make_targets([(0, RIGHT), (0, LEFT)], [(0, LEFT), (0, RIGHT), (0, LEFT)])
    matching = MATCHER(torch.zeros(1, 2, 1, 2), boxes, targets)
    assert matching.image.tolist() == [0, 1]
    assert matching.target.tolist() == [[1, 3]]


def test_all_images_empty():
    matching = MATCHER(torch.zeros(2, 2, 3, 4), torch.rand(2, 2, 3, 4), make_targets([], []))
    assert matching.image.shape == (0,)
    assert matching.query.shape == matching.target.shape == (2, 0)


@pytest.mark.parametrize("weights", [(1.0, 5.0, 2.0), (3.0, 7.0, 11.0)])
def test_cost_is_the_weighted_sum_of_class_l1_and_giou(weights):
    # p = 1/2; L1 distance 0.6; boxes of area 0.08, hull 0.8 x 0.4: GIoU = -(0.32 - 0.16) / 0.32.
    by_class, by_l1, by_giou = weights
    matcher = HungarianMatcher(cost_class=by_class, cost_l1=by_l1, cost_giou=by_giou)
    cost = matcher._cost(
        torch.zeros(1, 1, 2), torch.tensor([[LEFT]]), torch.tensor([0]), torch.tensor([RIGHT])
    )
    assert cost.item() == pytest.approx(-0.5 * by_class + 0.6 * by_l1 + 0.5 * by_giou)


def test_a_diverged_model_is_named():
    boxes = torch.full((1, 1, 2, 4), float("nan"))
    with pytest.raises(FloatingPointError, match="diverged"):
        MATCHER(torch.zeros(1, 1, 2, 2), boxes, make_targets([(0, LEFT)]))


def test_polygons_of_detectron2s_mapper_are_rasterized():
    """INPUT.MASK_FORMAT is "polygon" there by default."""
    instances = Instances((4, 6), gt_classes=torch.tensor([0, 1]))
    square, two_parts = (
        [[1.0, 1, 3, 1, 3, 3, 1, 3]],
        [[0.0, 0, 1, 0, 1, 4, 0, 4], [5.0, 0, 6, 0, 6, 1, 5, 1]],
    )
    instances.gt_masks = PolygonMasks([square, two_parts])
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    empty = Instances((5, 3), gt_classes=torch.zeros(0, dtype=torch.int64))
    empty.gt_masks, empty.gt_boxes = PolygonMasks([]), Boxes(torch.zeros(0, 4))
    batch = [{"instances": instances}, {"instances": empty}]
    first, second = Targets.from_inputs(batch, torch.device("cpu"), 2, with_masks=True).masks
    expected = torch.zeros(2, 4, 6, dtype=torch.bool)
    expected[0, 1:3, 1:3] = True
    expected[1, :, 0] = expected[1, 0, 5] = True
    assert torch.equal(first, expected)
    assert second.shape == (0, 5, 3)


def test_boxes_without_masks_name_the_keys_to_change():
    instances = Instances((4, 6), gt_classes=torch.tensor([0]))
    instances.gt_boxes = Boxes(torch.tensor([[0.0, 0, 2, 2]]))
    with pytest.raises(ValueError, match=r"MODEL.MASK_ON is True"):
        Targets.from_inputs([{"instances": instances}], torch.device("cpu"), 2, with_masks=True)
