import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, BoxMode

from detr_d2.data.instances import (
    boxes_of_masks,
    instances_of_annotations,
    instances_of_segments,
)

SIZE = (6, 8)
UNCHANGED = T.TransformList([])
# Columns 2..4, rows 1..4 of 6 rows and 8 columns, in every annotation format.
RECTANGLE = np.zeros(SIZE, np.uint8)
RECTANGLE[1:5, 2:5] = 1
POLYGON = [[2, 1, 5, 1, 5, 5, 2, 5]]
RLE = mask_util.encode(np.asfortranarray(RECTANGLE))
# Column by column: 13 empty pixels (two columns and one), 4 full, 2 empty, and so on.
COUNTS = {"size": list(SIZE), "counts": [13, 4, 2, 4, 2, 4, 19]}


def annotation(segmentation=None, **changes):
    made = {"category_id": 4, "bbox": [2, 1, 3, 4], "bbox_mode": BoxMode.XYWH_ABS, "iscrowd": 0}
    if segmentation is not None:
        made["segmentation"] = segmentation
    return made | changes


@pytest.mark.parametrize(
    ("box", "mode"), [([2, 1, 3, 4], BoxMode.XYWH_ABS), ([2, 1, 5, 5], BoxMode.XYXY_ABS)]
)
def test_a_box_without_mask_is_read_by_its_mode(box, mode):
    instances = instances_of_annotations([annotation(bbox=box, bbox_mode=mode)], UNCHANGED, SIZE)
    assert instances.gt_boxes.tensor.tolist() == [[2, 1, 5, 5]]


def test_segments_without_pixels_and_crowds_are_skipped():
    ids = np.array([[1, 1], [0, 2]], np.int32)
    segments = [
        {"id": 3, "category_id": 0, "iscrowd": 0},
        {"id": 2, "category_id": 4, "iscrowd": 0},
        {"id": 1, "category_id": 5, "iscrowd": 1},
    ]

    instances = instances_of_segments(ids, segments)

    assert instances.gt_classes.tolist() == [4]
    assert instances.gt_masks.tensor.tolist() == [[[False, False], [False, True]]]
    assert instances.gt_boxes.tensor.tolist() == [[1, 1, 2, 2]]


@pytest.mark.parametrize(
    "annotation_format", [POLYGON, RLE, COUNTS], ids=["polygon", "RLE", "counts"]
)
def test_every_form_of_segmentation_gives_mask_and_box(annotation_format):
    instances = instances_of_annotations([annotation(annotation_format)], UNCHANGED, SIZE)

    assert instances.gt_masks.tensor.dtype == torch.bool
    assert np.array_equal(instances.gt_masks.tensor[0].numpy(), RECTANGLE.astype(bool))
    assert instances.gt_boxes.tensor.tolist() == [[2, 1, 5, 5]]
    assert instances.gt_classes.tolist() == [4]
    assert instances.gt_classes.dtype == torch.int64


@pytest.mark.parametrize(
    "annotation_format", [POLYGON, RLE, COUNTS], ids=["polygon", "RLE", "counts"]
)
def test_masks_follow_flip_crop_and_resize(annotation_format):
    # Flipped to columns 3..5, cut to columns 4..7 and rows 2..5, then twice as large.
    steps = [T.HFlipTransform(8), T.CropTransform(4, 2, 4, 4), T.ResizeTransform(4, 4, 8, 8)]

    instances = instances_of_annotations(
        [annotation(annotation_format)], T.TransformList(steps), (8, 8)
    )

    expected = np.zeros((8, 8), bool)
    expected[:6, :4] = True
    assert np.array_equal(instances.gt_masks.tensor[0].numpy(), expected)
    assert instances.gt_boxes.tensor.tolist() == [[0, 0, 4, 6]]


def test_boxes_follow_flip_crop_and_resize_and_end_at_the_border():
    # Columns 2..4 to 3..5 to -1..1 of the crop; rows 1..4 to -1..2.
    steps = [T.HFlipTransform(8), T.CropTransform(4, 2, 4, 4), T.ResizeTransform(4, 4, 8, 8)]

    instances = instances_of_annotations([annotation()], T.TransformList(steps), (8, 8))

    assert instances.gt_boxes.tensor.tolist() == [[0, 0, 4, 6]]
    assert not instances.has("gt_masks")


def test_a_crop_shrinks_the_box_of_a_mask_but_not_an_annotated_one():
    # Eight columns wide in rows 0..2, four below.
    step = [[0, 0, 8, 0, 8, 3, 4, 3, 4, 6, 0, 6]]
    box = {"bbox": [0, 0, 8, 6], "bbox_mode": BoxMode.XYXY_ABS}
    crop = T.TransformList([T.CropTransform(0, 3, 8, 3)])

    masked = instances_of_annotations([annotation(step, **box)], crop, (3, 8))
    boxed = instances_of_annotations([annotation(**box)], crop, (3, 8))

    assert masked.gt_boxes.tensor.tolist() == [[0, 0, 4, 3]]
    assert boxed.gt_boxes.tensor.tolist() == [[0, 0, 8, 3]]


@pytest.mark.parametrize("annotation_format", [None, POLYGON, RLE], ids=["box", "polygon", "RLE"])
def test_crowds_and_what_is_cropped_away_are_dropped(annotation_format):
    annotations = [
        annotation(annotation_format, iscrowd=1),
        annotation(annotation_format, category_id=2),
    ]

    kept = instances_of_annotations(annotations, UNCHANGED, SIZE)
    crop = T.TransformList([T.CropTransform(5, 0, 3, 6)])
    gone = instances_of_annotations(annotations, crop, (6, 3))

    assert kept.gt_classes.tolist() == [2]
    assert len(gone) == 0 and gone.gt_boxes.tensor.shape == (0, 4)


def test_overlapping_objects_both_keep_their_pixels():
    other = [[4, 0, 8, 0, 8, 6, 4, 6]]

    instances = instances_of_annotations([annotation(POLYGON), annotation(other)], UNCHANGED, SIZE)

    assert instances.gt_masks.tensor.flatten(1).sum(1).tolist() == [12, 24]


def test_an_object_of_two_polygons_is_one_instance():
    two = [*POLYGON, [6, 0, 8, 0, 8, 1, 6, 1]]

    instances = instances_of_annotations([annotation(two)], UNCHANGED, SIZE)

    assert instances.gt_masks.tensor.sum() == 12 + 2
    assert instances.gt_boxes.tensor.tolist() == [[2, 0, 8, 5]]


def test_a_polygon_of_two_points_draws_nothing():
    # pycocotools would read these four numbers as a box.
    stray = [[0, 0, 8, 6]]

    assert len(instances_of_annotations([annotation(stray)], UNCHANGED, SIZE)) == 0
    both = instances_of_annotations([annotation(stray + POLYGON)], UNCHANGED, SIZE)
    assert both.gt_boxes.tensor.tolist() == [[2, 1, 5, 5]]


def test_no_object_has_empty_masks_so_that_masks_can_be_trained():
    instances = instances_of_annotations([], UNCHANGED, SIZE)

    assert instances.gt_masks.tensor.shape == (0, *SIZE)
    assert instances.gt_boxes.tensor.shape == (0, 4)


def test_masks_of_some_objects_only_are_not_used():
    mixed = [annotation(POLYGON), annotation(bbox=[1, 1, 4.5, 2])]

    instances = instances_of_annotations(mixed, UNCHANGED, SIZE)

    assert not instances.has("gt_masks")
    assert instances.gt_boxes.tensor.tolist() == [[2, 1, 5, 5], [1, 1, 5.5, 3]]


def test_annotations_are_left_as_they_were():
    polygon = [np.array(POLYGON[0], float)]
    crop = T.TransformList([T.CropTransform(1, 1, 4, 4)])

    instances_of_annotations([annotation(polygon)], crop, (4, 4))

    assert polygon[0].tolist() == POLYGON[0]


def test_faults_name_the_record():
    no_box = annotation()
    del no_box["bbox"]
    with pytest.raises(ValueError, match=r"a\.jpg: 1 object\(s\) without bbox"):
        instances_of_annotations([no_box], UNCHANGED, SIZE, "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg: segmentation of type str, allowed: list"):
        instances_of_annotations([annotation("mask.png")], UNCHANGED, SIZE, "a.jpg")


def test_boxes_are_those_of_detectron2():
    masks = np.random.default_rng(0).random((50, 7, 9)) < 0.03
    assert not masks.any(axis=(1, 2)).all()  # some are empty

    found = boxes_of_masks(masks)

    expected = BitMasks(torch.from_numpy(masks)).get_bounding_boxes().tensor
    assert found.tolist() == expected.tolist()
    assert boxes_of_masks(np.zeros((0, 7, 9), bool)).shape == (0, 4)
