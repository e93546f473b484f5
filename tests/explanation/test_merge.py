import pytest
import torch

from detr_d2.explanation.merge import merge_steps
from detr_d2.modeling.panoptic_merge import panoptic_inference


def test_every_argmax_is_listed():
    # Query 9 wins one pixel; without it query 4 gets it, which query 5 then does not lose.
    masks = torch.tensor([[[5.0, 5, 5, 2]], [[1, 1, 1, 1]], [[0, 0, 0, 3]]])
    steps = merge_steps(masks, [4, 5, 9], min_area=2)
    assert [(s.alive, s.areas, s.dropped) for s in steps] == [
        ([4, 5, 9], [3, 0, 1], [5, 9]),
        ([4], [4], []),
    ]
    assert steps[0].winner.tolist() == [[4, 4, 4, 9]] and steps[1].winner.tolist() == [[4] * 4]


def test_nobody_is_left_or_was_there():
    steps = merge_steps(torch.ones(1, 1, 3), [7], min_area=4)
    assert [(s.alive, s.areas, s.dropped) for s in steps] == [([7], [3], [7]), ([], [], [])]
    assert steps[-1].winner is None
    assert merge_steps(torch.ones(0, 1, 3), [], min_area=1)[-1].winner is None


def test_who_wins_no_pixel_leaves_even_if_no_area_is_too_small():
    steps = merge_steps(torch.tensor([[[2.0, 2]], [[1, 1]]]), [3, 8], min_area=0)
    assert [(s.alive, s.areas, s.dropped) for s in steps] == [([3, 8], [2, 0], [8]), ([3], [2], [])]


@pytest.mark.parametrize("size", [(10, 14), (9, 19)])
@pytest.mark.parametrize("unite", ["after_filtering", "before_filtering"])
@pytest.mark.parametrize("seed", range(20))
def test_the_last_argmax_is_the_panoptic_map(seed, unite, size):
    generator = torch.Generator().manual_seed(seed)
    count = seed % 6
    # Few levels, so that there are ties.
    masks = torch.randint(0, 4, (count, 5, 7), generator=generator).float()
    classes = torch.randint(0, 3, (count,), generator=generator)
    queries = sorted(torch.randperm(30, generator=generator)[:count].tolist())
    ids, segments = panoptic_inference(
        masks,
        torch.ones(count),
        classes,
        thing_ids=frozenset({0}),
        min_area=8,
        unite_stuff=unite,
        size=size,
    )
    first = {}
    for query, category in zip(queries, classes.tolist(), strict=True):
        first.setdefault(category, query)
    united = {q: first[c] for q, c in zip(queries, classes.tolist(), strict=True) if c != 0}
    steps = merge_steps(masks, queries, 8, size, united if unite == "before_filtering" else None)
    if not segments:
        assert steps[-1].winner is None
        return
    category_of = dict(zip(queries, classes.tolist(), strict=True))
    found = {s["id"]: s for s in segments}
    for query in steps[-1].alive:
        own = ids[steps[-1].winner == query].unique().tolist()
        assert len(own) == 1 and found[own[0]]["category_id"] == category_of[query]
    assert sum(steps[-1].areas) == sum(s["area"] for s in segments) == size[0] * size[1]
