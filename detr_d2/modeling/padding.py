"""Pad the images of a batch, and let each give the same features as it does alone.

Alone, a convolution sees zeros beyond the image's border. In a padded batch only the first one
does: its bias and the norm after it fill the padding, the next one sees these values, and what is
learnt there is missing at evaluation. So what lies beyond each image is set to zero again after
every convolution, and after the stem, whose pooling reaches beyond the border. The pooling itself
sees zeros, after a ReLU the least value there is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from detectron2.structures import ImageList
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detr_d2.ops.masks import Size, padding_mask


class PaddingEraser:
    """Sets to zero what lies beyond each image, after every convolution of a backbone.

    A batch norm in training takes its statistics from the cells of the images alone. GroupNorm,
    which would count the padding of each image, is rejected.
    """

    def __init__(self, backbone: nn.Module) -> None:
        """Watch the convolutions, batch norms and stages of a backbone of halving strides.

        Raises:
            ValueError: the backbone has a GroupNorm.
        """
        self._batch: tuple[Sequence[Size], Size] | None = None
        # Cells beyond the images, while a batch norm works on the others.
        self._beyond: Tensor | None = None
        for module in backbone.modules():
            if isinstance(module, nn.GroupNorm):
                raise ValueError(
                    "MODEL.DETR.ERASE_PADDING is True and the backbone has a GroupNorm, which "
                    "counts padding: allowed values of MODEL.RESNETS.NORM are FrozenBN, BN, SyncBN"
                )
            if isinstance(module, _BatchNorm):
                module.register_forward_pre_hook(self._gather)
                module.register_forward_hook(self._scatter)
        convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
        for module in {*convolutions, *backbone.children()}:
            module.register_forward_hook(self._after)

    @contextmanager
    def images(self, image_sizes: Sequence[Size], padded_size: Size) -> Iterator[None]:
        """Erase within this context, for a batch of these sizes (height, width), pixels."""
        if any(size != padded_size for size in image_sizes):
            self._batch = (image_sizes, padded_size)
        try:
            yield
        finally:
            self._batch = None

    def _after(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output if self._batch is None else erase_padding(output, *self._batch)

    def _gather(self, module: nn.Module, inputs: tuple[Tensor]) -> Tensor | None:
        """Features (N, C, h, w) to those of the images' own cells, (cells, C, 1, 1)."""
        self._beyond = None
        if self._batch is None or not module.training:
            return None
        self._beyond = beyond_images(inputs[0], *self._batch)
        return inputs[0].movedim(1, -1)[~self._beyond][:, :, None, None]

    def _scatter(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        if self._beyond is None:
            return None
        features = output.new_zeros(*self._beyond.shape, output.shape[1])
        features[~self._beyond] = output[:, :, 0, 0]
        return features.movedim(-1, 1)


def build_eraser(backbone: nn.Module, crop_padding: bool) -> PaddingEraser:
    """Make the eraser of a backbone.

    Raises:
        ValueError: the padding is not cropped either, so that it would be shown; and as
            `PaddingEraser`.
    """
    if not crop_padding:
        raise ValueError(
            "MODEL.DETR.ERASE_PADDING is True and MODEL.DETR.POSTPROCESS.CROP_PADDING False: "
            "masks that know no padding cannot show it; change one of them"
        )
    return PaddingEraser(backbone)


def erase_padding(x: Tensor, image_sizes: Sequence[Size], padded_size: Size) -> Tensor:
    """Set the cells of features (N, C, h, w) that lie beyond each image to zero.

    In place, unless a gradient is wanted: an operator may need what it gave for its own.
    """
    if x.requires_grad:
        return x.masked_fill(beyond_images(x, image_sizes, padded_size)[:, None], 0.0)
    shape = (x.shape[-2], x.shape[-1])
    for features, image_size in zip(x, image_sizes, strict=True):
        height, width = own_cells(image_size, padded_size, shape)
        features[:, height:].zero_()
        features[:, :, width:].zero_()
    return x


def beyond_images(x: Tensor, image_sizes: Sequence[Size], padded_size: Size) -> Tensor:
    """Which cells of features (N, C, h, w) lie beyond each image, bool (N, h, w)."""
    shape = (x.shape[-2], x.shape[-1])
    return padding_mask(image_sizes, shape, stride_of(padded_size, shape), x.device)


def stride_of(padded_size: Size, shape: Size) -> Size:
    """Return the strides (down, right) of features of `shape`, the least powers of two that fit.

    Where several fit there is one row (column) only, which every image has.

    Raises:
        ValueError: no power of two, rounded up, gives the shape.
    """
    return _stride(padded_size[0], shape[0]), _stride(padded_size[1], shape[1])


def own_cells(image_size: Size, padded_size: Size, shape: Size) -> Size:
    """Return how many rows and columns of features of `shape` belong to an image."""
    down, right = stride_of(padded_size, shape)
    return -(-image_size[0] // down), -(-image_size[1] // right)


def _stride(pixels: int, cells: int) -> int:
    stride = 1
    while -(-pixels // stride) > cells:
        stride *= 2
    if -(-pixels // stride) != cells:
        raise ValueError(
            f"MODEL.DETR.ERASE_PADDING: {pixels} pixels became {cells} cells; allowed are "
            "backbones that halve the size, rounding up"
        )
    return stride


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
