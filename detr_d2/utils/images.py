"""Read images as a model sees them: upright, 8 bits a channel."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from detectron2.data import detection_utils
from detectron2.utils.file_io import PathManager
from PIL import Image

# Modes of PIL with 8 bits a channel. A grey image of 16 or 32 bits has no agreed range, and a
# conversion would cut everything above 255 to white.
IMAGE_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})


def check_image_bits(image: Image.Image, name: object) -> None:
    """Reject an image whose channels have more than 8 bits.

    Raises:
        OSError: it has; as for images that cannot be decoded, so that readers treat both alike.
    """
    if image.mode not in IMAGE_MODES:
        raise OSError(
            f"{name}: image mode {image.mode}; images must have 8 bits a channel: choose the range "
            "of values that matters, and save it as 0..255"
        )


def read_image(path: str, format: str = "RGB") -> np.ndarray:
    """Read an image as Detectron2 does, turned upright by its EXIF entry: (H, W, 3) uint8.

    Args:
        path: the image's file.
        format: order of the channels, as INPUT.FORMAT has it.

    Raises:
        OSError: no such file, not an image, or more than 8 bits a channel; it names the file.
        ValueError: it has more pixels than Pillow thinks harmless (`Image.MAX_IMAGE_PIXELS`, 89
            million).
    """
    with decoding(path):
        with PathManager.open(path, "rb") as file, Image.open(file) as image:
            check_image_bits(image, path)
            width, height = image.size
        if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
            raise ValueError(
                f"{path}: {width}x{height} pixels, more than {Image.MAX_IMAGE_PIXELS // 10**6} "
                "million; scale it down"
            )
        return detection_utils.read_image(path, format=format)


@contextmanager
def decoding(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file in whatever Pillow raises while it decodes an image.

    Raises:
        OSError: no such file, or it is damaged.
        ValueError: it has far more pixels than Pillow thinks harmless.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}; scale it down") from error
    except (OSError, SyntaxError) as error:
        if isinstance(error, OSError) and os.fspath(path) in str(error):
            raise
        raise OSError(f"{path}: no image that can be read ({error})") from error
