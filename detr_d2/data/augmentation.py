"""DETR's augmentation: flip, then resize, with a random crop between two resizes half the time.

See section A.4 of "End-to-End Object Detection with Transformers" (Carion et al., 2020).
"""

from detectron2.config import CfgNode
from detectron2.data import transforms as T

CROP_PROBABILITY = 0.5


def build_augmentation(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """The augmentations that `INPUT` asks for; at test time the resize alone.

    Read from `INPUT`: `MIN_SIZE_*`, `MAX_SIZE_*`, `MIN_SIZE_TRAIN_SAMPLING`, `RANDOM_FLIP` and
    `CROP.{ENABLED, TYPE, SIZE, RESIZE}`.

    Raises:
        ValueError: `RANDOM_FLIP` is none of the known values.
    """
    if not is_train:
        return [T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, "choice")]
    augmentations = _flips(cfg.INPUT.RANDOM_FLIP)
    if cfg.INPUT.CROP.ENABLED:
        crop = T.AugmentationList(
            [
                T.ResizeShortestEdge(cfg.INPUT.CROP.RESIZE, sample_style="choice"),
                T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE),
            ]
        )
        augmentations.append(T.RandomApply(crop, prob=CROP_PROBABILITY))
    augmentations.append(
        T.ResizeShortestEdge(
            cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
        )
    )
    return augmentations


def _flips(direction: str) -> list[T.Augmentation]:
    allowed = ("horizontal", "vertical", "none")
    if direction not in allowed:
        raise ValueError(f"INPUT.RANDOM_FLIP is {direction!r}, allowed: {', '.join(allowed)}")
    if direction == "none":
        return []
    vertical = direction == "vertical"
    return [T.RandomFlip(horizontal=not vertical, vertical=vertical)]
