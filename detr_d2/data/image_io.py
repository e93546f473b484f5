"""Read masks and images of any kind, and put images into the folder of a data set.

Every error of reading is an `UnreadableError` that names the file, so that one bad file can be
skipped and reported, while an error of writing (OSError) still stops the work.
"""

import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from detr_d2.ops.panoptic_ids import rgb_to_id
from detr_d2.utils.files import replacing
from detr_d2.utils.images import check_image_bits

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
MASK_SUFFIXES = IMAGE_SUFFIXES | {".gif"}
LOSSY_FORMATS = frozenset({"JPEG", "MPO"})
EXIF_ORIENTATION = 0x0112
# EXIF orientations that swap width and height.
TRANSPOSED = frozenset({5, 6, 7, 8})
HASH_SIZE = 8
# The share of a binary mask that may be neither black nor white: its edges.
GREY_SHARE = 0.1
PLACE_MODES = ("link", "copy")


class UnreadableError(ValueError):
    """A file that cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class ImageInfo:
    """Properties of an image.

    `size` is (height, width) of the upright image, as Detectron2 reads it; `orientation` the EXIF
    number (1 = stored upright); `perceptual_hash` a 64-bit difference hash, which differs in few
    bits for images that look alike.
    """

    size: tuple[int, int]
    orientation: int
    perceptual_hash: int


def inspect_image(path: str | os.PathLike[str]) -> ImageInfo:
    """Decode an image (at low resolution where the format allows it) and measure it.

    Raises:
        UnreadableError: no image, a damaged one, or of a mode that would be read as white.
    """
    try:
        with Image.open(path) as image:
            check_image_bits(image, path)
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
            width, height = image.size
            # A JPEG is decoded at an eighth of its size: all of the file is read nevertheless.
            image.draft("RGB", (HASH_SIZE * 8, HASH_SIZE * 8))
            grey = image.convert("L")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        why = str(error).removeprefix(f"{path}: ")
        raise UnreadableError(f"{path}: not readable as an image ({why})") from error
    size = (width, height) if orientation in TRANSPOSED else (height, width)
    return ImageInfo(size, int(orientation), _difference_hash(grey))


def _difference_hash(grey: Image.Image) -> int:
    small = np.asarray(grey.resize((HASH_SIZE + 1, HASH_SIZE), Image.Resampling.BOX), np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def read_values(
    path: str | os.PathLike[str], *, lossless: bool = True, colors: bool = False
) -> np.ndarray:
    """Read the numbers of a mask file.

    Palette files give their indices, colour files R + 256 G + 65536 B unless the three channels
    are equal (then the grey value), transparency is dropped, two-coloured files give 0 and 1.

    Args:
        path: PNG, TIFF, BMP, GIF, WEBP or JPEG of 1, 8, 16 or 32 bits.
        lossless: reject JPEG, which changes the values it stores.
        colors: give colours as R + 256 G + 65536 B in any case, those of a palette too.

    Returns:
        (H, W) integers from 0.
    """
    try:
        with Image.open(path) as file:
            if lossless and file.format in LOSSY_FORMATS:
                raise UnreadableError(
                    f"{path}: JPEG changes the values it stores, so classes cannot be read from "
                    "it; save masks as PNG, or ask for the nearest class value (--nearest)"
                )
            mask: Image.Image = file
            if mask.mode in ("LA", "PA"):
                mask = mask.convert(mask.mode[0])
            if mask.mode in ("RGBA", "CMYK", "YCbCr"):
                mask = mask.convert("RGB")
            if colors:
                mask = mask.convert("RGB")
            values = np.asarray(mask)
    except UnreadableError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableError(f"{path}: not readable as a mask ({error})") from error
    if values.dtype == bool:
        return values.astype(np.uint8)
    if colors:
        return rgb_to_id(np.ascontiguousarray(values))
    if values.ndim == 3:
        first = values[..., 0]
        if (first == values[..., 1]).all() and (first == values[..., 2]).all():
            return first
        return rgb_to_id(np.ascontiguousarray(values))
    if values.dtype.kind == "f":
        if (values != np.round(values)).any():
            raise UnreadableError(f"{path}: fractional values; a mask holds whole numbers")
        values = values.astype(np.int32)
    if values.dtype.kind == "i" and values.size and values.min() < 0:
        raise UnreadableError(f"{path}: value {values.min()}; a mask holds numbers from 0")
    return values


def read_binary(
    path: str | os.PathLike[str], foreground: int | None = None, threshold: int | None = None
) -> np.ndarray:
    """Read a mask of one object or class: (H, W) bool.

    Args:
        path: the file; JPEG is fine.
        foreground: the one value that means "inside".
        threshold: the lowest value that means "inside". With neither, the upper half of the range
            does, which drops the noise of JPEG and smooth edges: 1 of 0..1, 128 and more of
            0..255, 32768 and more of 0..65535.

    Raises:
        UnreadableError: ambiguous values: none in the upper half of the range, though some are
            above 1; or grey ones in more than a tenth of the file.
    """
    values = read_values(path, lossless=False)
    if foreground is not None:
        return values == foreground
    if threshold is not None:
        return values >= threshold
    highest = int(values.max()) if values.size else 0
    if highest <= 1:
        return values == 1
    top = 255 if highest <= 255 else 65535
    if highest > top:
        raise UnreadableError(
            f"{path}: a coloured file; a binary mask is black and white, or give the value that "
            "means inside (--foreground)"
        )
    if highest <= top // 2:
        raise UnreadableError(
            f"{path}: values up to {highest}, none in the upper half of the range; give the value "
            "that means inside (--foreground)"
        )
    grey = float(((values > top // 8) & (values < top - top // 8)).mean())
    if grey > GREY_SHARE:
        raise UnreadableError(
            f"{path}: {100 * grey:.0f} % of its pixels are grey, so it is no binary mask but maybe "
            "an image; give the lowest value that means inside (--threshold)"
        )
    return values > top // 2


def apply_exif_orientation(values: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate a mask of an image's stored pixels as EXIF rotates the image."""
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: a.T[:, ::-1],
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: a.T[::-1],
    }
    return np.ascontiguousarray(turns.get(orientation, turns[1])(values))


def files_below(folder: str | os.PathLike[str], suffixes: frozenset[str]) -> list[str]:
    """Relative paths (with "/") of the files with one of these suffixes, any case, sorted.

    Hidden files and folders are skipped. Links to folders are followed, but not those that lead
    back to a folder that they lie in.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    root = os.fspath(folder)
    if not os.path.isdir(root):
        raise FileNotFoundError(f"{root}: no such folder")
    found = []
    # Of every folder that is still to be visited: the real folders on the way to it.
    above = {root: frozenset([os.path.realpath(root)])}
    for here, folders, names in os.walk(root, followlinks=True):
        passed = above.pop(here)
        real = {n: os.path.realpath(os.path.join(here, n)) for n in folders if n[:1] != "."}
        folders[:] = sorted(name for name in real if real[name] not in passed)
        above |= {os.path.join(here, name): passed | {real[name]} for name in folders}
        inside = os.path.relpath(here, root)
        for name in names:
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("."):
                path = name if inside == "." else os.path.join(inside, name)
                found.append(path.replace(os.sep, "/"))
    return sorted(found)


def check_image_mode(mode: str) -> None:
    """Raise ValueError unless the mode is one of PLACE_MODES."""
    if mode not in PLACE_MODES:
        raise ValueError(f"images {mode!r}, allowed: {PLACE_MODES}")


def place_image(
    source: str | os.PathLike[str] | io.BytesIO, target: str | os.PathLike[str], mode: str = "link"
) -> None:
    """Put an image at `target`, atomically; an earlier file is replaced, folders are made.

    Args:
        source: the image's file, or its bytes.
        target: the new path, with the image's own extension: nothing is encoded again.
        mode: "link": a hard link where the disk allows it, else a copy; or "copy".

    Raises:
        ValueError: another mode.
        OSError: the image cannot be read or written.
    """
    check_image_mode(mode)
    with replacing(target) as temporary:
        if isinstance(source, io.BytesIO):
            Path(temporary).write_bytes(source.getvalue())
            return
        if mode == "link":
            try:
                os.link(os.path.realpath(source), temporary)
                return
            except OSError:
                # Another disk, or a file of someone else's.
                pass
        shutil.copyfile(source, temporary)
