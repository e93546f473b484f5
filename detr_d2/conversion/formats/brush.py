"""Brush masks of Label Studio: the run-length code of the JavaScript package @thi.ng/rle-pack.

The code is a stream of bits: the number of values (32 bits), the bits of a value less 1 (5), four
lengths less 1 (4 each); then runs: a bit that is 1 for a repeated value, the place of a length
(2), the number of values less 1 (in that many bits), and the value, or all values.
"""

from typing import Any

import numpy as np

from detr_d2.data.image_io import UnreadableError

# Red, green, blue, alpha: the mask is the alpha channel, in the upper half of its range.
CHANNELS, INSIDE = 4, 128


class _Bits:
    """A stream of bits."""

    def __init__(self, values: np.ndarray, where: str) -> None:
        self._bits = np.unpackbits(values)
        self._where, self._place = where, 0

    def take(self, count: int) -> np.ndarray:
        """The next bits, (count,) uint8."""
        end = self._place + count
        if end > len(self._bits):
            raise UnreadableError(f"{self._where}: RLE ends before its image is full")
        taken = self._bits[self._place : end]
        self._place = end
        return taken

    def number(self, count: int) -> int:
        """The next bits as a number."""
        return int("".join(map(str, self.take(count))), 2)


def decode_brush(code: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """Decode a brush mask: (H, W) bool.

    Args:
        code: bytes as a list of numbers.
        size: (H, W) of the image.
        where: names the mask in messages.

    Raises:
        UnreadableError: no list of bytes, or of another size.
    """
    values = np.asarray(code) if isinstance(code, list) else np.empty(0)
    sound = values.ndim == 1 and values.dtype.kind == "i" and values.size
    if not sound or values.min() < 0 or values.max() > 255:
        raise UnreadableError(f"{where}: RLE is no list of bytes")
    bits = _Bits(values.astype(np.uint8), where)
    count, word = bits.number(32), bits.number(5) + 1
    expected = size[0] * size[1] * CHANNELS
    if count != expected or word != 8:
        raise UnreadableError(
            f"{where}: RLE of {count} values of {word} bits, its image of {size[1]}x{size[0]} has "
            f"{expected} of 8"
        )
    lengths = [bits.number(4) + 1 for _ in range(4)]
    out = np.empty(count, np.uint8)
    start = 0
    while start < count:
        is_run = bits.number(1)
        end = start + 1 + bits.number(lengths[bits.number(2)])
        if end > count:
            raise UnreadableError(f"{where}: RLE has more values than its image")
        if is_run:
            out[start:end] = bits.number(word)
        else:
            out[start:end] = np.packbits(bits.take(word * (end - start)))
        start = end
    return out.reshape(*size, CHANNELS)[..., CHANNELS - 1] >= INSIDE
