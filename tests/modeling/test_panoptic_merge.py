import pytest
import torch

from detr_d2.modeling.panoptic_merge import panoptic_inference
from detr_d2.ops.masks import resize

THINGS = frozenset({0, 1})  # Class 2 is stuff.


def masks_of(*columns: tuple[int, int], width: int = 8, height: int = 2) -> torch.Tensor:
    """Logits: mask i is +5 in its range of columns, -5 elsewhere."""
    masks = torch.full((len(columns), height, width), -5.0)
    for mask, (start, stop) in zip(masks, columns, strict=True):
        mask[:, start:stop] = 5.0
    return masks


def merge(masks, classes, scores=None, min_area=1):
    scores = torch.tensor(scores if scores is not None else [0.9] * len(masks))
    classes = torch.tensor(classes, dtype=torch.int64)
    return panoptic_inference(masks, scores, classes, thing_ids=THINGS, min_area=min_area)


def test_argmax_and_python_types():
    panoptic, segments = merge(masks_of((0, 3), (3, 8)), [0, 2], [0.875, 0.9375])
    assert panoptic.dtype == torch.int32
    assert panoptic.tolist() == [[1, 1, 1, 2, 2, 2, 2, 2]] * 2
    assert segments == [
        {"id": 1, "category_id": 0, "isthing": True, "score": 0.875, "area": 6},
        {"id": 2, "category_id": 2, "isthing": False, "score": 0.9375, "area": 10},
    ]
    assert [type(v) for v in segments[0].values()] == [int, int, bool, float, int]


@pytest.mark.parametrize(("first", "last"), [(0.9, 0.95), (0.95, 0.9)])
def test_things_of_one_class_stay_apart_and_stuff_is_united(first, last):
    panoptic, segments = merge(
        masks_of((0, 2), (2, 4), (4, 6), (6, 8)), [2, 0, 0, 2], [first, 0.9, 0.9, last]
    )
    assert panoptic[0].tolist() == [1, 1, 2, 2, 3, 3, 1, 1]
    assert [s["category_id"] for s in segments] == [2, 0, 0]
    assert segments[0]["area"] == 8 and segments[0]["score"] == pytest.approx(0.95)


def test_small_segments_are_dropped_and_their_pixels_go_to_the_next_best():
    masks = masks_of((0, 4), (4, 5), (4, 8))
    masks[2, :, 4] = 1.0  # Second best under the small one of column 4.
    panoptic, segments = merge(masks, [0, 1, 2], min_area=3)
    assert panoptic[0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert sum(s["area"] for s in segments) == 16


def test_dropping_a_small_segment_does_not_undo_the_union_of_stuff():
    # The published code lost the second stuff mask as soon as any segment was dropped.
    masks = masks_of((0, 3), (3, 6), (6, 7), (7, 8))
    panoptic, segments = merge(masks, [2, 2, 1, 0], min_area=2)
    # The thing of two pixels (area 2) stays with min_area 2; with 3 it and the other go.
    assert [s["area"] for s in segments] == [12, 2, 2]
    panoptic, segments = merge(masks, [2, 2, 1, 0], min_area=3)
    assert [s["category_id"] for s in segments] == [2]
    assert panoptic.tolist() == [[1] * 8] * 2 and segments[0]["area"] == 16


def test_small_stuff_segments_are_judged_one_by_one():
    panoptic, segments = merge(masks_of((0, 7), (7, 8)), [2, 2], min_area=3)
    assert segments[0]["area"] == 16 and panoptic.min() == 1


@pytest.mark.parametrize("classes", [[0, 1], [2, 2]])
def test_things_only_and_stuff_only(classes):
    panoptic, segments = merge(masks_of((0, 4), (4, 8)), classes)
    assert len(segments) == len(set(panoptic.flatten().tolist()))
    assert {s["isthing"] for s in segments} == {classes[0] in THINGS}


def test_no_detection_at_all():
    panoptic, segments = merge(torch.zeros(0, 3, 5), [], [])
    assert segments == [] and panoptic.tolist() == [[0] * 5] * 3


def test_everything_too_small():
    panoptic, segments = merge(masks_of((0, 4), (4, 8)), [0, 1], min_area=100)
    assert segments == [] and panoptic.max() == 0


def test_a_mask_that_wins_nothing_is_no_segment():
    masks = masks_of((0, 8), (0, 8))
    masks[1] -= 1
    panoptic, segments = merge(masks, [0, 1], min_area=0)
    assert len(segments) == 1 and panoptic.max() == 1


def published_merge(masks, classes, min_area, size=None):
    return panoptic_inference(
        masks,
        torch.full((len(masks),), 0.9),
        torch.tensor(classes, dtype=torch.int64),
        thing_ids=THINGS,
        min_area=min_area,
        unite_stuff="before_filtering",
        size=size,
    )


def test_published_union_of_stuff_is_undone_when_its_second_mask_is_dropped():
    # Stuff in columns 0-3 and 3-6 of 8, a thing in 6-8. The first pass gives all of 0-6 to the
    # first mask; the second has no pixel left and is dropped; without it columns 3-6 go to the
    # next best mask, here the thing.
    masks = masks_of((0, 3), (3, 6), (6, 8))
    masks[2, :, 3:6] = 0.0
    panoptic, segments = published_merge(masks, [2, 2, 0], min_area=2)
    assert panoptic[0].tolist() == [1, 1, 1, 2, 2, 2, 2, 2]
    assert [(s["category_id"], s["area"]) for s in segments] == [(2, 6), (0, 10)]
    corrected, segments = merge(masks, [2, 2, 0], min_area=2)
    assert corrected[0].tolist() == [1, 1, 1, 1, 1, 1, 2, 2]
    assert [(s["category_id"], s["area"]) for s in segments] == [(2, 12), (0, 4)]


def test_published_union_without_a_second_stuff_mask_is_ours():
    masks = masks_of((0, 3), (3, 6), (6, 8))
    panoptic, segments = published_merge(masks, [2, 1, 0], min_area=2)
    expected, expected_segments = merge(masks, [2, 1, 0], min_area=2)
    assert torch.equal(panoptic, expected) and len(segments) == len(expected_segments)


def test_winners_are_enlarged_and_areas_are_those_of_the_output():
    masks = masks_of((0, 1), (1, 8))
    panoptic, segments = published_merge(masks, [1, 2], min_area=5, size=(6, 16))
    # One column of eight becomes two of sixteen, of six rows: 12 pixels, more than the minimum.
    assert panoptic.shape == (6, 16) and panoptic.dtype == torch.int32
    assert panoptic[5].tolist() == [1] * 2 + [2] * 14
    assert [s["area"] for s in segments] == [12, 84]
    panoptic, segments = published_merge(torch.zeros(0, 2, 8), [], min_area=5, size=(6, 16))
    assert panoptic.shape == (6, 16) and segments == []


def ids_of_all_masks_at_once(masks, min_area):
    """Winner per pixel among the masks that stay large, all held at the full size."""
    alive = torch.arange(len(masks))
    while len(alive):
        winner = alive[masks[alive].argmax(0)]
        large = torch.bincount(winner.flatten(), minlength=len(masks))[alive] >= min_area
        if large.all():
            return winner
        alive = alive[large]
    return torch.full(masks.shape[-2:], len(masks))


def blobs(count, shape, noise):
    """Logits of round segments that overlap, with borders as rough as `noise`."""
    generator = torch.Generator().manual_seed(count)
    centers = torch.rand(count, 2, 1, 1, generator=generator) * torch.tensor(shape)[:, None, None]
    place = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij"))
    logits = 6 - (place - centers).square().sum(1).sqrt()
    return logits + noise * torch.randn(count, *shape, generator=generator)


# Smooth masks are sampled along their borders only, noise everywhere.
@pytest.mark.parametrize("noise", [0.2, 10.0])
@pytest.mark.parametrize("count", [0, 1, 15])
@pytest.mark.parametrize(
    ("small", "full"),
    [((7, 9), (83, 71)), ((20, 30), (80, 120)), ((30, 20), (30, 47)), ((40, 31), (17, 13))],
)
@pytest.mark.parametrize("min_area", [1, 5, 150, 10**6])
def test_merging_gives_the_ids_of_all_masks_enlarged_at_once(count, small, full, min_area, noise):
    masks = blobs(count, small, noise)
    panoptic, segments = panoptic_inference(
        masks,
        torch.full((count,), 0.9),
        torch.zeros(count, dtype=torch.int64),
        thing_ids=THINGS,
        min_area=min_area,
        compete_at=full,
    )
    winner = ids_of_all_masks_at_once(resize(masks, full), min_area)
    # Ids count the winners in the order of their queries.
    winners = [i for i in winner.unique().tolist() if i < count]
    expected = torch.zeros(count + 1, dtype=torch.int32)
    expected[winners] = torch.arange(1, len(winners) + 1, dtype=torch.int32)
    assert torch.equal(panoptic, expected[winner])
    assert [s["area"] for s in segments] == [(winner == i).sum().item() for i in winners]


def test_of_equal_masks_the_first_wins():
    masks = masks_of((0, 4), (0, 4), (4, 8))
    for size in (None, (2, 8), (7, 31)):
        panoptic, _ = panoptic_inference(
            masks,
            torch.full((3,), 0.9),
            torch.tensor([0, 1, 1]),
            thing_ids=THINGS,
            min_area=1,
            compete_at=size,
        )
        assert panoptic[0, 0] == 1 and set(panoptic.unique().tolist()) == {1, 2}


def test_a_finished_map_is_enlarged_by_the_nearest_centre():
    """Two columns to five, whose centres are at 0.2, 0.6, 1.0, 1.4 and 1.8 of the two."""
    panoptic, _ = panoptic_inference(
        masks_of((0, 1), (1, 2), width=2, height=1),
        torch.full((2,), 0.9),
        torch.tensor([0, 1]),
        thing_ids=THINGS,
        min_area=1,
        size=(1, 5),
    )
    assert panoptic.tolist() == [[1, 1, 2, 2, 2]]


def test_masks_that_carry_gradients_are_merged_all_the_same():
    masks = masks_of((0, 4), (4, 5), (4, 8)).requires_grad_()
    panoptic, segments = merge(masks, [0, 1, 2], min_area=3)
    assert panoptic[0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2] and len(segments) == 2
