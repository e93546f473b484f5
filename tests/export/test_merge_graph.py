"""The merge in ONNX against hand-made maps and against `panoptic_inference`."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from detr_d2.modeling.panoptic_merge import panoptic_inference

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def merge():
    from detr_d2.export.merge_graph import merge_model

    session = onnxruntime.InferenceSession(merge_model().SerializeToString())

    def run(masks, classes, is_thing, size, min_area):
        inputs = {
            "masks": np.asarray(masks, np.float32),
            "kept_classes": np.asarray(classes, np.int64),
            "kept_is_thing": np.asarray(is_thing, bool),
            "output_size": np.array(size),
            "min_area": np.array([min_area]),
        }
        return session.run(["id_map", "query_ids", "areas"], inputs)

    return run


# Query 0 wins two pixels, query 1 one, query 2 three; query 2 is second at the pixel of query 1.
MASKS = [
    [[5, 5, 0], [0, 0, 0]],
    [[0, 0, 5], [0, 0, 0]],
    [[1, 1, 4], [5, 5, 5]],
]


def test_things_keep_an_id_each(merge):
    ids, owners, areas = merge(MASKS, [0, 0, 1], [True, True, True], (2, 3), 1)
    assert ids.tolist() == [[1, 1, 2], [3, 3, 3]]
    assert owners.tolist() == [1, 2, 3] and areas.tolist() == [2, 1, 3]
    assert ids.dtype == np.int32


def test_stuff_of_one_class_is_one_segment_of_the_first_query(merge):
    ids, owners, areas = merge(MASKS, [4, 0, 4], [False, True, False], (2, 3), 1)
    assert ids.tolist() == [[1, 1, 2], [1, 1, 1]]
    assert owners.tolist() == [1, 2, 1] and areas.tolist() == [2, 1, 3]


def test_small_segments_give_their_pixels_to_the_next_best(merge):
    ids, owners, areas = merge(MASKS, [0, 0, 1], [True, True, True], (2, 3), 2)
    assert ids.tolist() == [[1, 1, 2], [2, 2, 2]]
    assert owners.tolist() == [1, 0, 2] and areas.tolist() == [2, 0, 4]


def test_nothing_is_left_where_all_are_small(merge):
    ids, owners, _ = merge(MASKS, [0, 0, 1], [True, True, True], (2, 3), 100)
    assert not ids.any() and not owners.any()


@pytest.mark.parametrize("count", [1, 6, 30])
@pytest.mark.parametrize("min_area", [0, 5, 20, 60])
def test_equal_to_pytorch_on_random_masks(merge, count, min_area):
    generator = torch.Generator().manual_seed(count)
    masks = torch.randn(count, 6, 9, generator=generator)
    classes = torch.randint(0, 6, (count,), generator=generator)
    size = (23, 35)
    enlarged = F.interpolate(masks[None], size, mode="bilinear")[0]
    expected, segments = panoptic_inference(
        enlarged,
        torch.rand(count),
        classes,
        thing_ids=frozenset({0, 1, 2}),
        min_area=min_area,
    )
    ids, owners, areas = merge(masks, classes, classes < 3, size, min_area)
    assert np.array_equal(ids, expected.numpy())
    assert owners.max() == len(segments)
    assert areas[owners > 0].sum() == sum(s["area"] for s in segments)
