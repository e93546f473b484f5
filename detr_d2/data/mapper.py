"""From a panoptic record to the model's input.

Legend: H, W size of the file; h, w size after augmentation; M number of segments, may be 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Boxes, Instances

from detr_d2.data.augmentation import build_augmentation
from detr_d2.data.coco_panoptic import read_id_png
from detr_d2.ops.panoptic_ids import rgb_to_id


class DetrMapper:
    """The one mapper: reads, augments, and splits the id map into masks.

    The id map goes through the augmentation as the RGB picture that it is stored as: one uint8
    picture instead of M masks, and the only form that Detectron2's resize takes.

    Args:
        is_train: whether to make `instances`.
        augmentations: applied to the photo and to the id map together.
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
            training, `instances` (see `make_instances`) takes the place of `pan_seg_file_name`
            and `segments_info`.

        Raises:
            ValueError: the PNG's size or ids disagree with the photo's or the record's.
            detectron2.data.detection_utils.SizeMismatchError: the photo's size disagrees with
                the record's.
        """
        result = dict(record)
        image = detection_utils.read_image(record["file_name"], format=self.image_format)
        detection_utils.check_image_size(result, image)
        if not self.is_train:
            augmented = T.AugInput(image)
            self.augmentations(augmented)
        else:
            id_name, segments = result.pop("pan_seg_file_name"), result.pop("segments_info")
            id_rgb = read_id_png(id_name)
            if id_rgb.shape[:2] != image.shape[:2]:
                raise ValueError(
                    f"{id_name} is {id_rgb.shape[1]}x{id_rgb.shape[0]} pixels, but its photo "
                    f"{record['file_name']} is {image.shape[1]}x{image.shape[0]}"
                )
            augmented = T.AugInput(image, sem_seg=id_rgb)
            self.augmentations(augmented)
            instances = make_instances(rgb_to_id(augmented.sem_seg), segments)
            if len(instances) < len(segments):
                # Cropped away, a crowd, or never there: only the last is a fault. Looking this up
                # for every image would cost as much as splitting the masks.
                _check_ids(id_name, id_rgb, segments)
            result["instances"] = instances
        chw = np.ascontiguousarray(augmented.image.transpose(2, 0, 1))
        result["image"] = torch.from_numpy(chw)
        return result


def make_instances(id_map: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> Instances:
    """Split an id map into one instance a segment.

    Void and crowds become no instance; segments without a pixel are left out.

    Args:
        id_map: (h, w) integers, 0 = void.
        segments: `id`, `category_id` (contiguous) and `iscrowd` of each segment.

    Returns:
        Instances with `gt_classes` (M,) int64, `gt_masks` BitMasks (M, h, w) and `gt_boxes` Boxes
        (M, 4), xyxy with exclusive right and lower edges, measured from the masks.
    """
    wanted = [s for s in segments if not s.get("iscrowd", 0)]
    ids = np.array([s["id"] for s in wanted], id_map.dtype)
    # In numpy: on bytes and booleans it is many times faster than torch on one core.
    masks = id_map[None] == ids[:, None, None]
    boxes = boxes_of_masks(masks)
    present = boxes[:, 2] > 0
    classes = np.array([s["category_id"] for s in wanted], np.int64)
    instances = Instances((id_map.shape[0], id_map.shape[1]))
    instances.gt_classes = torch.from_numpy(classes[present])
    instances.gt_masks = BitMasks(torch.from_numpy(masks if present.all() else masks[present]))
    instances.gt_boxes = Boxes(torch.from_numpy(boxes[present]))
    return instances


def boxes_of_masks(masks: np.ndarray) -> np.ndarray:
    """Tight boxes (M, 4) float32 of masks (M, h, w) bool; all zero for an empty mask.

    The same numbers as Detectron2's `BitMasks.get_bounding_boxes`: xyxy, the right and lower edges
    exclusive, so that a mask of one pixel has a box of one by one.
    """
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, columns, rows in zip(boxes, masks.any(axis=1), masks.any(axis=2), strict=True):
        x, y = np.flatnonzero(columns), np.flatnonzero(rows)
        if len(x):
            box[:] = x[0], y[0], x[-1] + 1, y[-1] + 1
    return boxes


def _check_ids(name: str, id_rgb: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> None:
    """Raise for listed ids that the PNG does not hold."""
    id_map = rgb_to_id(id_rgb)
    absent = [s["id"] for s in segments if not (id_map == s["id"]).any()]
    if absent:
        raise ValueError(f"{name}: segments {absent} of the JSON are not in the PNG")
