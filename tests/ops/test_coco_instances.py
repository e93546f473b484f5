import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from detr_d2.ops.coco_instances import coco_instances

# 4 rows, 6 columns: 70000 has two parts and a hole, 3 is a crowd, 9 is not a wanted category.
IDS = np.array(
    [
        [70000, 70000, 70000, 0, 3, 3],
        [70000, 9, 70000, 0, 3, 0],
        [70000, 70000, 70000, 0, 0, 0],
        [0, 0, 0, 70000, 0, 9],
    ],
    np.int32,
)
SEGMENTS = [
    {"id": 3, "category_id": 1, "iscrowd": 1},
    {"id": 9, "category_id": 0, "iscrowd": 0},
    {"id": 70000, "category_id": 2},
    {"id": 555, "category_id": 2},
]


@pytest.mark.parametrize("polygons", [False, True])
def test_things_with_box_area_and_exact_mask(polygons):
    crowd, thing = coco_instances(IDS, SEGMENTS, {1: 80, 2: 7}, polygons)
    assert (crowd["category_id"], crowd["iscrowd"], crowd["area"]) == (80, 1, 3)
    assert (thing["category_id"], thing["iscrowd"], thing["area"]) == (7, 0, 9)
    # x, y, width, height.
    assert (crowd["bbox"], thing["bbox"]) == ([4, 0, 2, 2], [0, 0, 4, 4])
    assert isinstance(thing["segmentation"], list) == polygons
    assert isinstance(crowd["segmentation"], dict)
    coco = COCO()
    coco.imgs = {5: {"height": 4, "width": 6}}
    for entry, number in ((crowd, 3), (thing, 70000)):
        mask = coco.annToMask({**entry, "image_id": 5})
        # COCO's polygons are a union: the hole joined to its outline stays one.
        assert (mask == (number == IDS)).all()
    assert coco_mask.area(crowd["segmentation"]) == 3


def test_nothing_wanted_gives_nothing():
    assert coco_instances(IDS, SEGMENTS, {}, False) == []
    assert coco_instances(IDS, [], {2: 7}, True) == []
