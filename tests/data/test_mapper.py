import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog
from detectron2.data import transforms as T
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.structures import BoxMode
from PIL import Image

from detr_d2 import add_detr_config
from detr_d2.data.mapper import DetrMapper

SKY, SOIL, BRICK, PIPE = 5, 65536, 70000, 256


@pytest.fixture
def records(tiny_set, register):
    return DatasetCatalog.get(register(**tiny_set.paths()))


def mapper(*augmentations, is_train=True, image_format="RGB"):
    return DetrMapper(is_train=is_train, augmentations=augmentations, image_format=image_format)


def test_without_augmentation_masks_are_those_of_the_file(records, tiny_set):
    results = [mapper()(record) for record in records]

    ids = tiny_set.id_maps["a"]
    first = results[0]["instances"]
    # The order of the JSON, without the crowd: sky, brick, soil. Void belongs to none.
    assert first.gt_classes.tolist() == [2, 1, 3]
    expected = np.stack([ids == SKY, ids == BRICK, ids == SOIL])
    assert np.array_equal(first.gt_masks.tensor.numpy(), expected)
    assert not first.gt_masks.tensor[:, :, 23].any()
    second = results[1]["instances"]
    assert second.gt_classes.tolist() == [3, 0]
    ids = tiny_set.id_maps["b"]
    assert np.array_equal(second.gt_masks.tensor.numpy(), np.stack([ids == SOIL, ids == PIPE]))


def test_boxes_have_exclusive_edges(records):
    instances = mapper()(records[0])["instances"]

    # Sky reaches down between the crowd's columns 14..19 and the void column 23.
    assert instances.gt_boxes.tensor.tolist() == [[0, 0, 23, 10], [4, 8, 10, 13], [0, 10, 23, 16]]
    one_wide = mapper()(records[1])["instances"].gt_boxes.tensor[1]
    assert one_wide.tolist() == [6, 3, 7, 18]


def test_types_and_shapes(records):
    result = mapper(T.Resize((30, 50)))(records[0])

    assert result["image"].shape == (3, 30, 50)
    assert result["image"].dtype == torch.uint8
    assert result["image"].is_contiguous()
    assert (result["height"], result["width"], result["image_id"]) == (16, 24, 7)
    assert "segments_info" not in result
    assert "pan_seg_file_name" not in result
    instances = result["instances"]
    assert instances.image_size == (30, 50)
    assert instances.gt_classes.dtype == torch.int64
    assert instances.gt_masks.tensor.dtype == torch.bool
    assert instances.gt_masks.tensor.shape == (3, 30, 50)
    assert instances.gt_boxes.tensor.shape == (3, 4)


def test_an_image_without_segments_has_no_instances(records):
    instances = mapper()(records[2])["instances"]

    assert len(instances) == 0
    assert instances.gt_masks.tensor.shape == (0, 10, 12)
    assert instances.gt_boxes.tensor.shape == (0, 4)


def test_the_record_is_left_as_it_was(records):
    before = {**records[0], "segments_info": [dict(s) for s in records[0]["segments_info"]]}

    mapper(T.HFlipTransform(24))(records[0])

    assert records[0] == before


def test_image_and_masks_are_flipped_together(records, tiny_set):
    plain, flipped = mapper()(records[0]), mapper(T.HFlipTransform(24))(records[0])

    assert torch.equal(flipped["image"], plain["image"].flip(2))
    expected = plain["instances"].gt_masks.tensor.flip(2)
    assert torch.equal(flipped["instances"].gt_masks.tensor, expected)
    assert flipped["instances"].gt_boxes.tensor[1].tolist() == [14, 8, 20, 13]


def test_ids_do_not_mix_when_resized(records):
    # Bilinear would make new ids between the old ones, and the masks would lose their edges.
    instances = mapper(T.Resize((32, 48)))(records[0])["instances"]

    assert instances.gt_masks.tensor.flatten(1).sum(1).tolist() == [
        4 * area for area in (23 * 10 - 6 * 2 - 6, 30, 23 * 6 - 6 * 3 - 6 * 5)
    ]


def test_what_a_crop_cuts_off_is_dropped_and_boxes_shrink(records):
    instances = mapper(T.CropTransform(0, 0, 8, 11))(records[0])["instances"]

    # Eight columns, eleven rows: sky, the brick's left part, one row of soil.
    assert instances.gt_classes.tolist() == [2, 1, 3]
    assert instances.gt_boxes.tensor.tolist() == [[0, 0, 8, 10], [4, 8, 8, 11], [0, 10, 4, 11]]
    only_sky = mapper(T.CropTransform(0, 0, 8, 4))(records[0])["instances"]
    assert only_sky.gt_classes.tolist() == [2]
    assert len(mapper(T.CropTransform(23, 0, 1, 4))(records[0])["instances"]) == 0


@pytest.mark.parametrize(("image_format", "order"), [("RGB", [0, 1, 2]), ("BGR", [2, 1, 0])])
def test_channel_order(records, image_format, order):
    pixels = np.asarray(Image.open(records[1]["file_name"]))

    image = mapper(image_format=image_format)(records[1])["image"]

    assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels[..., order])


def test_at_test_time_the_ground_truth_stays_in_the_record(records):
    result = mapper(T.Resize((10, 15)), is_train=False)(records[0])

    assert result["image"].shape == (3, 10, 15)
    assert "instances" not in result
    assert result["segments_info"] == records[0]["segments_info"]
    assert result["pan_seg_file_name"] == records[0]["pan_seg_file_name"]


@pytest.mark.parametrize("is_train", [True, False])
def test_records_without_size_get_the_images(records, is_train):
    # Detectron2's own loader of coco_2017_*_panoptic leaves height and width out.
    bare = {k: v for k, v in records[0].items() if k not in ("height", "width")}

    result = mapper(T.Resize((8, 12)), is_train=is_train)(bare)

    assert (result["height"], result["width"]) == (16, 24)


def test_image_of_another_size_than_the_json_says(records):
    with pytest.raises(SizeMismatchError, match=r"a\.jpg"):
        mapper()({**records[0], "height": 17})


def test_png_of_another_size_than_the_image_names_both(records):
    wrong = {**records[0], "pan_seg_file_name": records[1]["pan_seg_file_name"]}

    with pytest.raises(ValueError, match=r"b\.png is 14x20.*a\.jpg is 24x16"):
        mapper()(wrong)


def test_an_id_that_the_png_does_not_hold_is_named(records):
    segments = [*records[0]["segments_info"], {"id": 12, "category_id": 0, "iscrowd": 0}]

    with pytest.raises(ValueError, match=r"a\.png: segments \[12\]"):
        mapper()({**records[0], "segments_info": segments})


def test_exif_rotation_of_the_image_is_followed(records, tiny_set):
    # Stored lying (16 rows, 24 columns), shown upright: 24 rows, 16 columns.
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(records[0]["file_name"])
    image.save(records[0]["file_name"], exif=exif)
    bare = {k: v for k, v in records[0].items() if k not in ("height", "width")}

    result = mapper(is_train=False)(bare)

    assert result["image"].shape == (3, 24, 16)
    assert (result["height"], result["width"]) == (24, 16)


def test_from_config(records):
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (32,), 48
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.CROP.ENABLED = False

    train, test = DetrMapper(cfg, is_train=True), DetrMapper(cfg, is_train=False)

    assert train(records[0])["image"].shape == (3, 32, 48)
    assert test(records[0])["image"].shape == (3, 48, 72)
    assert len(train(records[0])["instances"]) == 3


@pytest.fixture
def detection_record(records):
    """The first image (16 rows, 24 columns) as Detectron2 describes detection data."""
    bare = {k: v for k, v in records[0].items() if k not in ("pan_seg_file_name", "segments_info")}
    rectangle = {"category_id": 1, "bbox": [4, 8, 6, 5], "bbox_mode": BoxMode.XYWH_ABS}
    crowd = {"category_id": 0, "bbox": [14, 9, 20, 15], "bbox_mode": BoxMode.XYXY_ABS, "iscrowd": 1}
    return {**bare, "annotations": [crowd, {**rectangle, "iscrowd": 0}]}


def test_detection_records_give_boxes(detection_record):
    result = mapper(T.HFlipTransform(24), T.Resize((32, 48)))(detection_record)

    assert result["image"].shape == (3, 32, 48)
    assert (result["height"], result["width"], result["image_id"]) == (16, 24, 7)
    assert "annotations" not in result
    instances = result["instances"]
    assert instances.image_size == (32, 48)
    assert instances.gt_classes.tolist() == [1]
    assert instances.gt_boxes.tensor.tolist() == [[28, 16, 40, 26]]
    assert not instances.has("gt_masks")


def test_detection_records_with_polygons_give_masks(detection_record):
    detection_record["annotations"][1]["segmentation"] = [[4, 8, 10, 8, 10, 13, 4, 13]]

    instances = mapper(T.CropTransform(0, 0, 8, 11))(detection_record)["instances"]

    assert instances.gt_boxes.tensor.tolist() == [[4, 8, 8, 11]]
    assert instances.gt_masks.tensor.shape == (1, 11, 8)
    assert instances.gt_masks.tensor.sum() == 4 * 3
    assert len(detection_record["annotations"]) == 2


def test_detection_records_keep_their_ground_truth_at_test_time(detection_record):
    result = mapper(is_train=False)(detection_record)

    assert result["annotations"] == detection_record["annotations"]
    assert "instances" not in result


def test_a_record_without_anything_to_learn_is_rejected(detection_record):
    del detection_record["annotations"]

    with pytest.raises(ValueError, match=r"a\.jpg: .*pan_seg_file_name.*or annotations"):
        mapper()(detection_record)
