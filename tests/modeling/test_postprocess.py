import pytest
import torch

from detr_d2.modeling import postprocess as postprocess_module
from detr_d2.modeling.box_head import ClassPredictions, predict_classes
from detr_d2.modeling.duplicates import find_duplicates
from detr_d2.modeling.postprocess import (
    CHUNK,
    PostProcess,
    instance_inference,
    semantic_inference,
)
from detr_d2.ops.masks import ImageSizes


def test_best_class_is_never_no_object():
    found = predict_classes(torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0]]))
    assert found.classes.tolist() == [0, 1] and found.is_object.tolist() == [True, False]
    expected = torch.tensor([2.0, 0.0, 0.0]).softmax(0)
    assert found.scores[0].item() == pytest.approx(expected[0].item())
    assert found.probabilities[0].tolist() == pytest.approx(expected[:2].tolist())
    assert found.select(torch.tensor([1])).classes.tolist() == [1]


def test_no_object_may_be_likelier_than_a_class_above_the_threshold():
    """Classes 0.4 and 0.35 of two queries above a threshold of 0.3; the first is rather nothing."""
    logits = torch.tensor([[0.4, 0.1, 0.5], [0.35, 0.33, 0.32]]).log()
    postprocess = PostProcess(thing_ids=[0], score_thresh=0.3, instance_on=False)
    found = postprocess.classify(logits, torch.rand(2, 4))
    assert postprocess.needed_queries(found).tolist() == [False, True]
    sizes = ImageSizes((4, 8), (4, 8), (4, 8))
    result = postprocess(found, torch.rand(2, 4), torch.full((2, 4, 8), 5.0), sizes)
    assert [s["score"] for s in result["panoptic_seg"][1]] == [pytest.approx(0.35)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_of_16_bits_are_those_of_the_same_numbers_in_32(dtype):
    logits = torch.tensor([[2.3, 0.1, 0.7], [0.0, 1.9, 1.8]]).to(dtype)
    found, expected = predict_classes(logits), predict_classes(logits.float())
    assert found.scores.dtype == found.probabilities.dtype == torch.float32
    assert torch.equal(found.scores, expected.scores)


def test_instances_are_pixels_clipped_to_the_image():
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.9, 0.5, 0.4, 1.2]])
    masks = torch.full((2, 20, 40), -5.0)
    masks[0, :, :2] = 5.0
    masks[1, 3, 4] = 0.1
    masks[1, 3, 5] = 0.0
    result = instance_inference(
        boxes, torch.tensor([0.9, 0.8]), torch.tensor([1, 0]), (20, 40), masks.split(1)
    )
    assert result.image_size == (20, 40)
    expected = torch.tensor([[10.0, 5.0, 30.0, 15.0], [28.0, 0.0, 40.0, 20.0]])
    torch.testing.assert_close(result.pred_boxes.tensor, expected)
    assert result.pred_masks.dtype == torch.bool and torch.equal(result.pred_masks, masks > 0)


def test_masks_of_instances_are_enlarged_a_few_at_a_time(monkeypatch):
    """More than a chunk: all of them at once as floats are 48 GB for 500 of 6000 x 4000 pixels."""
    count, held = 2 * CHUNK + 3, []
    resize = postprocess_module.unpad_and_resize

    def watched(masks, *sizes):
        held.append(len(masks))
        return resize(masks, *sizes)

    monkeypatch.setattr(postprocess_module, "unpad_and_resize", watched)
    masks = torch.randn(count, 4, 8, generator=torch.Generator().manual_seed(0))
    postprocess = PostProcess(thing_ids=[1], panoptic_on=False)
    sizes = ImageSizes((4, 8), (4, 6), (8, 12))
    found = predictions([0.4] * count)
    result = postprocess(found, torch.zeros(count, 4), masks, sizes)["instances"]
    assert torch.equal(result.pred_masks, resize(masks, (4, 8), (4, 6), (8, 12)) > 0)
    assert held == [CHUNK, CHUNK, 3]


def test_semantic_scores_are_class_times_mask_probability():
    masks = torch.tensor([[[0.0]], [[100.0]]])
    probabilities = torch.tensor([[0.5, 0.25], [0.0, 0.5]])
    for chunks in (masks.split(1), masks.split(2)):
        scores = semantic_inference(chunks, probabilities, (1, 1))
        assert scores.shape == (2, 1, 1)
        assert scores.flatten().tolist() == pytest.approx([0.25, 0.125 + 0.5])


def predictions(scores: list[float]) -> ClassPredictions:
    """Queries with these scores of class 1 of two; is_object from 0.5."""
    top = torch.tensor(scores)
    probabilities = torch.stack([(1 - top) / 2, top], dim=1)
    return ClassPredictions(probabilities, top, torch.ones(len(top)).long(), top > 0.5)


def test_semantic_takes_all_queries_and_the_panoptic_map_the_sure_ones():
    # More queries than are resized at once; only the last is sure.
    count = CHUNK + 3
    found = predictions([0.4] * (count - 1) + [0.9])
    postprocess = PostProcess(thing_ids=[], sem_seg_on=True, instance_on=False, min_area=1)
    assert postprocess.needed_queries(found).all()
    sizes = ImageSizes((4, 8), (4, 6), (4, 6))
    masks = torch.full((count, 4, 8), -100.0)
    masks[:-1, :, :3] = 100.0
    masks[-1, :, 3:] = 100.0
    result = postprocess(found, torch.zeros(count, 4), masks, sizes)
    # Columns 0-2 belong to all unsure queries, columns 3-5 to the sure one.
    expected = [0.4 * (count - 1)] * 3 + [0.9] * 3
    assert result["sem_seg"].shape == (2, 4, 6)
    assert result["sem_seg"][1, 2].tolist() == pytest.approx(expected, rel=1e-5)
    assert [segment["area"] for segment in result["panoptic_seg"][1]] == [24]
    postprocess.sem_seg_on = False
    assert postprocess.needed_queries(found).nonzero().tolist() == [[count - 1]]


@pytest.mark.parametrize("other", [{"instance_on": False}, {"panoptic_on": False}])
def test_a_query_at_the_threshold_is_left_out(other):
    limits = {"score_thresh": 0.75, "instance_score_thresh": 0.75}
    postprocess = PostProcess(thing_ids=[1], **limits, **other)
    assert postprocess.needed_queries(predictions([0.75, 0.875])).tolist() == [False, True]


# Centre, width and height; the second box overlaps the first by 8 of 10 columns (IoU 8 / 12), the
# third by 6 (6 / 14) and the second by 8, the fourth lies apart.
BOXES = torch.tensor(
    [[0.30, 0.5, 0.1, 0.2], [0.32, 0.5, 0.1, 0.2], [0.34, 0.5, 0.1, 0.2], [0.8, 0.5, 0.1, 0.2]]
)


@pytest.mark.parametrize(
    ("scores", "classes", "iou", "expected", "left"),
    [
        ([0.9, 0.8, 0.6, 0.7], [1, 1, 1, 1], 0.6, [1, 2], [2]),
        ([0.6, 0.8, 0.9, 0.7], [1, 1, 1, 1], 0.6, [0, 1], [1]),
        ([0.8, 0.6, 0.9, 0.7], [1, 1, 1, 1], 0.6, [1], [1]),
        ([0.9, 0.8, 0.6, 0.7], [1, 1, 1, 1], 0.7, [], []),
        ([0.9, 0.8, 0.6, 0.7], [1, 1, 1, 1], 0.4, [1, 2], [2]),
        ([0.8, 0.8, 0.6, 0.7], [1, 1, 0, 1], 0.6, [1], []),
        ([0.9, 0.8, 0.6, 0.7], [1, 0, 1, 1], 0.6, [], []),
    ],
)
def test_a_duplicate_overlaps_a_better_box_of_its_class(scores, classes, iou, expected, left):
    found = predictions(scores)
    found.classes = torch.tensor(classes)
    everyone = torch.ones(4, dtype=torch.bool)
    duplicates = find_duplicates(found, BOXES, everyone, iou)
    assert duplicates.nonzero()[:, 0].tolist() == expected
    # Nobody is a duplicate of a query that is no candidate.
    candidates = torch.tensor([False, True, True, True])
    assert find_duplicates(found, BOXES, candidates, iou).nonzero()[:, 0].tolist() == left


def test_boxes_that_overlap_by_just_the_limit_are_no_duplicates():
    """The second box is one half of the first."""
    boxes = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.125, 0.5, 0.25, 1.0]])
    everyone = torch.ones(2, dtype=torch.bool)
    for iou, expected in ((0.5, [False, False]), (0.49, [False, True])):
        assert find_duplicates(predictions([0.9, 0.8]), boxes, everyone, iou).tolist() == expected


def test_duplicate_things_are_no_objects_but_stay_instances():
    # Classes 0 and 1 and "no object", which the fourth query takes itself for.
    logits = torch.tensor([[0.0, 3, 1], [0.0, 2, 1], [3.0, 0, 1], [0.0, 2, 3]])
    boxes = BOXES[[0, 1, 1, 0]]
    for thing_ids, iou, expected in (
        ([1], 0.6, [True, False, True, False]),
        ([1], 1.0, [True, True, True, False]),
        # Two queries of one stuff class are united, not dropped.
        ([0], 0.6, [True, True, True, False]),
        ([], 0.6, [True, True, True, False]),
    ):
        postprocess = PostProcess(thing_ids=thing_ids, score_thresh=0.1, duplicate_iou=iou)
        found = postprocess.classify(logits, boxes)
        assert found.is_object.tolist() == expected
        assert found.scores.tolist() == predict_classes(logits).scores.tolist()
        instances = postprocess(found, boxes, None, ImageSizes((4, 8), (4, 8), (4, 8)))
        assert len(instances["instances"]) == sum(c in thing_ids for c in [1, 1, 0, 1])


def test_duplicate_iou_is_a_share():
    with pytest.raises(ValueError, match=r"DUPLICATE_IOU is 55\.0, must be from 0 to 1"):
        PostProcess(thing_ids=[1], duplicate_iou=55.0)
    none = PostProcess(thing_ids=[1], duplicate_iou=0.5)
    assert none.classify(torch.zeros(0, 3), torch.zeros(0, 4)).scores.shape == (0,)


def test_a_model_without_masks_gives_instances_only():
    found = predictions([0.9, 0.2])
    postprocess = PostProcess(thing_ids=[1], instance_score_thresh=0.5)
    result = postprocess(found, torch.zeros(2, 4), None, ImageSizes((4, 8), (4, 8), (4, 8)))
    assert set(result) == {"instances"} and len(result["instances"]) == 1
    assert not result["instances"].has("pred_masks")


@pytest.mark.parametrize("change", [{"unite_stuff": "later"}, {"resize": "all"}])
def test_unknown_switches_are_rejected(change):
    with pytest.raises(ValueError, match=f"{next(iter(change.values()))}.*allowed"):
        PostProcess(thing_ids=[], **change)


def winners(masks, sizes, **options):
    """Row of segment ids of a map of one row; every query is a sure thing of class 1."""
    postprocess = PostProcess(thing_ids=[1], instance_on=False, min_area=1, **options)
    found = predictions([0.9] * len(masks))
    panoptic, _ = postprocess(found, torch.zeros(len(masks), 4), torch.tensor(masks), sizes)[
        "panoptic_seg"
    ]
    return panoptic[0].tolist()


def test_masks_compete_at_the_size_of_the_outputs_or_as_published_of_the_image():
    masks = [[[1.0, 1.0, -9.0, -9.0]], [[0.0, 0.0, 9.0, 9.0]]]
    sizes = ImageSizes((1, 4), (1, 4), (1, 8))
    # The fourth of eight pixels lies a quarter of the way from 1 and 0 to -9 and 9.
    assert winners(masks, sizes, resize="masks") == [1, 1, 1, 2, 2, 2, 2, 2]
    assert winners(masks, sizes, resize="ids") == [1, 1, 1, 1, 2, 2, 2, 2]


def test_padding_is_cut_off_or_as_published_squeezed_into_the_image():
    masks = [[[5.0] * 4 + [-5.0] * 4], [[-5.0] * 4 + [5.0] * 4]]
    sizes = ImageSizes((1, 8), (1, 4), (1, 4))
    assert winners(masks, sizes) == [1, 1, 1, 1]
    assert winners(masks, sizes, crop_padding=False) == [1, 1, 2, 2]
