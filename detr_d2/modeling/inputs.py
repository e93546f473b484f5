"""The dictionaries of the mapper as the model takes them."""

import torch
from detectron2.structures import ImageList
from torch import Tensor

from detr_d2.ops.masks import Size


def batch_images(batched_inputs: list[dict], mean: Tensor, std: Tensor) -> ImageList:
    """Normalise the images on the device of mean and std, (3, 1, 1), and pad them with zeros."""
    images = [x["image"].to(mean.device) for x in batched_inputs]
    images = [((image - mean) / std).to(mean.dtype) for image in images]
    batch = ImageList.from_tensors(images)
    batch.tensor = batch.tensor.contiguous(memory_format=torch.channels_last)
    return batch


def group_by_size(batched_inputs: list[dict]) -> list[list[int]]:
    """Return the indices of the inputs, in groups of equal image size.

    Convolutions see padding (at the image border of every layer, and in GroupNorm's statistics),
    so only a group without padding gives each image the result it would have alone.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, x in enumerate(batched_inputs):
        groups.setdefault(tuple(x["image"].shape), []).append(i)
    return list(groups.values())


def output_size(x: dict) -> Size:
    """Return the (height, width) wanted of an input's outputs; by default that of its image."""
    height, width = x["image"].shape[-2:]
    return x.get("height", height), x.get("width", width)
