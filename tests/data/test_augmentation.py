import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import transforms as T

from detr_d2 import add_detr_config
from detr_d2.data.mapper import CROP_PROBABILITY, build_augmentation


@pytest.fixture
def cfg():
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.INPUT.MIN_SIZE_TRAIN = (30, 40)
    cfg.INPUT.MAX_SIZE_TRAIN = 60
    cfg.INPUT.MIN_SIZE_TEST = 24
    cfg.INPUT.MAX_SIZE_TEST = 100
    return cfg


def augment(augmentations, image, ids=None):
    augmented = T.AugInput(image, sem_seg=ids)
    T.AugmentationList(augmentations)(augmented)
    return augmented


def test_test_time_only_resizes(cfg):
    image = np.zeros((48, 96, 3), np.uint8)
    image[:, 48:] = 200

    found = augment(build_augmentation(cfg, is_train=False), image)

    assert found.image.shape == (24, 48, 3)
    assert found.image[0, 0, 0] < found.image[0, -1, 0]
    # 24 rows would have 360 columns, over 100: 20/3 rows, rounded.
    long = augment(build_augmentation(cfg, is_train=False), np.zeros((20, 300, 3), np.uint8))
    assert long.image.shape == (7, 100, 3)


def test_training_draws_one_of_the_sizes_and_keeps_the_longer_side_within_bounds(cfg):
    cfg.INPUT.CROP.ENABLED = False
    augmentations = build_augmentation(cfg, is_train=True)

    found = {augment(augmentations, np.zeros((50, 80, 3), np.uint8)).image.shape for _ in range(40)}

    # 30 -> 30x48; 40 would be 40x64, over 60, hence 38x60 (37.5 rounded).
    assert found == {(30, 48, 3), (38, 60, 3)}


def test_training_may_draw_any_size_of_a_range(cfg):
    cfg.INPUT.CROP.ENABLED = False
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = (20, 30), "range"
    augmentations = build_augmentation(cfg, is_train=True)
    image = np.zeros((50, 80, 3), np.uint8)
    heights = {augment(augmentations, image).image.shape[0] for _ in range(60)}
    assert heights <= set(range(20, 31)) and len(heights) > 3


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("none", [[1, 2], [3, 4]]), ("horizontal", [[2, 1], [4, 3]]), ("vertical", [[3, 4], [1, 2]])],
)
def test_flips(cfg, direction, expected):
    cfg.INPUT.CROP.ENABLED = False
    cfg.INPUT.RANDOM_FLIP = direction
    cfg.INPUT.MIN_SIZE_TRAIN = (2,)
    image = np.repeat(np.array([[1, 2], [3, 4]], np.uint8)[..., None], 3, axis=2)
    augmentations = build_augmentation(cfg, is_train=True)

    found = {str(augment(augmentations, image).image[..., 0].tolist()) for _ in range(40)}

    assert found == {str([[1, 2], [3, 4]]), str(expected)}


def test_an_unknown_flip_is_rejected_with_the_choices(cfg):
    cfg.INPUT.RANDOM_FLIP = "diagonal"

    with pytest.raises(ValueError, match=r"'diagonal'.*horizontal, vertical, none"):
        build_augmentation(cfg, is_train=True)


def test_crop_is_taken_half_of_the_time_after_a_resize_of_its_own(cfg):
    # 100 x 100 resized to 50, of which 20..40 are cut: at most 0.8 of each side stays, at least
    # 0.4; what is left is enlarged to the training size.
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.INPUT.MIN_SIZE_TRAIN = (100,)
    cfg.INPUT.MAX_SIZE_TRAIN = 1000
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE = "absolute_range"
    cfg.INPUT.CROP.SIZE = [20, 40]
    cfg.INPUT.CROP.RESIZE = [50]
    column = np.arange(100, dtype=np.uint8)
    image = np.repeat(np.repeat(column[:, None], 100, axis=1)[..., None], 3, axis=2)
    augmentations = build_augmentation(cfg, is_train=True)
    np.random.seed(0)

    pictures = [augment(augmentations, image, image.copy()) for _ in range(200)]

    spans = [int(np.ptp(p.sem_seg[:, 0, 0])) + 1 for p in pictures]
    cropped = [span for span in spans if span < 100]
    assert abs(len(cropped) / 200 - CROP_PROBABILITY) < 0.1
    assert min(cropped) >= 38
    assert max(cropped) <= 80
    assert all(p.image.shape == p.sem_seg.shape for p in pictures)
    assert all(min(p.image.shape[:2]) == 100 for p in pictures)
