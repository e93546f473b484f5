"""Map a record of a data set to the model's input.

Legend: H, W size of the file; h, w size after augmentation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import Instances

from detr_d2.data.instances import instances_of_annotations, instances_of_segments
from detr_d2.ops.panoptic_ids import read_id_rgb, rgb_to_id
from detr_d2.utils.images import read_image


class DetrMapper:
    """The one mapper: reads, augments, and makes the objects to learn.

    It takes panoptic records (an id PNG and its segments) and Detectron2's detection records (boxes
    with or without polygons or RLE).

    Args:
        is_train: whether to make `instances`.
        augmentations: applied to the image and to its objects together.
        image_format: channel order of the image, as `INPUT.FORMAT` ("BGR", "RGB", ...).
    """

    @configurable
    def __init__(
        self,
        *,
        is_train: bool,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str,
    ) -> None:
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """The constructor's arguments for a config."""
        return {
            "is_train": is_train,
            "augmentations": build_augmentation(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
        }

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make the input of one image.

        Returns:
            The record with `image`, a (3, h, w) uint8 tensor, and with `height` and `width` of
            the file even where the record has none (Detectron2's builtin panoptic sets). In
            training, `instances` (see `detr_d2.data.instances`) takes the place of
            `pan_seg_file_name` and `segments_info`, or of `annotations`.

        Raises:
            ValueError: the PNG's size or ids disagree with the image's or the record's, or the
                record holds nothing to learn.
            OSError: the image cannot be decoded, or has more than 8 bits a channel.
            detectron2.data.detection_utils.SizeMismatchError: the image's size disagrees with
                the record's.
        """
        result = dict(record)
        image = read_image(record["file_name"], format=self.image_format)
        detection_utils.check_image_size(result, image)
        augmented = T.AugInput(image)
        if not self.is_train:
            self.augmentations(augmented)
        elif "pan_seg_file_name" in record:
            id_name, segments = result.pop("pan_seg_file_name"), result.pop("segments_info")
            result["instances"] = self._segment(augmented, record["file_name"], id_name, segments)
        elif "annotations" in record:
            transforms = self.augmentations(augmented)
            result["instances"] = instances_of_annotations(
                result.pop("annotations"),
                transforms,
                augmented.image.shape[:2],
                record["file_name"],
            )
        else:
            raise ValueError(
                f"{record['file_name']}: a record for training needs pan_seg_file_name and "
                f"segments_info, or annotations; this one has {sorted(record)}"
            )
        chw = np.ascontiguousarray(augmented.image.transpose(2, 0, 1))
        result["image"] = torch.from_numpy(chw)
        return result

    def _segment(
        self,
        image: T.AugInput,
        name: str,
        id_name: str,
        segments: Sequence[Mapping[str, Any]],
    ) -> Instances:
        """Augment the image and its id map together, and split the map.

        The id map goes through the augmentation as the RGB picture that it is stored as: one uint8
        picture instead of a mask a segment, and the only kind that Detectron2's resize takes.
        """
        image.sem_seg = id_rgb = read_id_rgb(id_name)
        if id_rgb.shape[:2] != image.image.shape[:2]:
            raise ValueError(
                f"{id_name} is {id_rgb.shape[1]}x{id_rgb.shape[0]} pixels, but its image "
                f"{name} is {image.image.shape[1]}x{image.image.shape[0]}"
            )
        self.augmentations(image)
        instances = instances_of_segments(rgb_to_id(image.sem_seg), segments)
        if len(instances) < len(segments):
            # Cropped away, a crowd, or never there: only the last is a fault. Looking this up
            # for every image would cost as much as splitting the masks.
            _check_ids(id_name, id_rgb, segments)
        return instances


def _check_ids(name: str, id_rgb: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> None:
    """Raise for listed ids that the PNG does not hold."""
    id_map = rgb_to_id(id_rgb)
    absent = [s["id"] for s in segments if not (id_map == s["id"]).any()]
    if absent:
        raise ValueError(f"{name}: segments {absent} of the JSON are not in the PNG")


CROP_PROBABILITY = 0.5


def build_augmentation(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """The augmentations that `INPUT` asks for; at test time the resize alone.

    DETR's are a flip, then a resize, with a random crop between two resizes half the time (DETR
    paper, appendix A.4).

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
