"""Pack arrays of numbers into little text; the page's reader is page/*.js.

value = raw * scale + offset, see `payload`. Bytes are compressed with gzip, which every browser
opens (DecompressionStream), and written in base64.
"""

import base64
import gzip
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

# Added to differences, so that small ones of both signs fit into one byte.
DELTA_BIAS = 128
# Of a uint16 array.
MAX_LEVELS = 65535


@dataclass(frozen=True)
class PackedArray:
    """An array as the page gets it: its description, and base64 of gzip of its bytes."""

    description: dict[str, Any]
    text: str


class Packer:
    """Collects packed arrays by name."""

    def __init__(self) -> None:
        self.arrays: dict[str, PackedArray] = {}

    def add(
        self,
        name: str,
        values: Tensor | np.ndarray,
        text: str,
        *,
        leading: int = 0,
        from_zero: bool = False,
        step: float | None = None,
        delta: bool = False,
    ) -> str:
        """Round an array to integers and pack it.

        Args:
            name: unique.
            values: any shape.
            text: what it is.
            leading: number of leading axes with a scale and an offset each; 0 = one for all.
            from_zero: the offset is 0; for values that are not negative.
            step: the distance of two levels; the type is the smallest that holds all levels, and
                the step larger where uint16 would not.
                None: 256 levels from the smallest to the largest value.
            delta: store differences along the last axis; smaller for smooth maps.

        Returns:
            The name.
        """
        array = _numpy(values).astype(np.float64)
        rows = array.reshape(*array.shape[:leading], math.prod(array.shape[leading:]))
        low = rows.min(-1) if rows.size else np.zeros(rows.shape[:-1])
        high = rows.max(-1) if rows.size else np.zeros(rows.shape[:-1])
        low = np.zeros_like(low) if from_zero else low
        if step and rows.size:
            step = max(step, float((high - low).max()) / (MAX_LEVELS - 1))
            # Levels are multiples of the step, so that what is nearly 0 becomes 0.
            low = np.floor(low / step) * step
        # As the page reads them: float32 where they are arrays.
        offset = low.astype(np.float32).astype(np.float64) if leading else low
        scale = np.full_like(high, step) if step else (high - low) / 255
        scale = scale.astype(np.float32).astype(np.float64) if leading else scale
        scale = np.where(scale > 0, scale, 1.0)
        raw = np.rint((rows - offset[..., None]) / scale[..., None])
        raw = raw.clip(0, None if step else 255).reshape(array.shape)
        dtype = np.uint8 if not raw.size or raw.max() <= 255 else np.uint16
        decoded = raw.reshape(rows.shape) * scale[..., None] + offset[..., None]
        error = float(np.abs(decoded - rows).max()) if rows.size else 0.0
        self._store(name, raw.astype(dtype), text, delta, scale, offset, error)
        return name

    def add_integers(self, name: str, values: Tensor | np.ndarray, text: str) -> str:
        """Pack integers 0 .. 255 exactly, for example an image or a map of ids."""
        raw = _numpy(values).astype(np.uint8)
        self._store(name, raw, text, False, np.array(1.0), np.array(0.0), 0.0)
        return name

    def values(self, name: str) -> np.ndarray:
        """Values of an array as the page has them, float64."""
        return unpack(self.arrays[name], self.arrays)

    def _store(
        self,
        name: str,
        raw: np.ndarray,
        text: str,
        delta: bool,
        scale: np.ndarray,
        offset: np.ndarray,
        error: float,
    ) -> None:
        if name in self.arrays:
            raise ValueError(f"array {name!r} is packed twice")
        description: dict[str, Any] = {
            "dtype": str(raw.dtype),
            "filter": "delta" if delta else "none",
            "shape": list(raw.shape),
            "tolerance": error,
            "text": text,
        }
        for key, value in (("scale", scale), ("offset", offset)):
            if value.ndim and value.any():
                description[key] = f"{name}.{key}"
                self._store_floats(f"{name}.{key}", value, f"{key} of {name}")
            else:
                description[key] = float(value) if not value.ndim else 0.0
        stored = _differences(raw) if delta else raw
        self.arrays[name] = PackedArray(description, compress(_planes(stored)))

    def _store_floats(self, name: str, values: np.ndarray, text: str) -> None:
        description: dict[str, Any] = {
            "dtype": "float32",
            "filter": "none",
            "shape": list(values.shape),
        }
        description |= {"scale": 1.0, "offset": 0.0, "tolerance": 0.0, "text": text}
        data = values.astype("<f4").tobytes()
        self.arrays[name] = PackedArray(description, compress(data))


def _numpy(values: Tensor | np.ndarray) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def _differences(raw: np.ndarray) -> np.ndarray:
    """Differences along the last axis plus `DELTA_BIAS`, modulo the type's range."""
    # Unsigned integers of numpy wrap around, as JavaScript's typed arrays do.
    result = raw.copy()
    result[..., 1:] = raw[..., 1:] - raw[..., :-1] + raw.dtype.type(DELTA_BIAS)
    return result


def _planes(raw: np.ndarray) -> bytes:
    """Bytes of uint8; of uint16 all low bytes and then all high bytes."""
    if raw.dtype == np.uint8:
        return raw.tobytes()
    return (raw & 255).astype(np.uint8).tobytes() + (raw >> 8).astype(np.uint8).tobytes()


def compress(data: bytes) -> str:
    """Base64 of gzip; without a time stamp, so that equal data give equal text."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


def unpack(array: PackedArray, others: dict[str, PackedArray]) -> np.ndarray:
    """Read an array back as float64, as the page does; `others` hold its scales and offsets."""
    what = array.description
    data = gzip.decompress(base64.b64decode(array.text))
    if what["dtype"] == "float32":
        return np.frombuffer(data, "<f4").reshape(what["shape"]).astype(np.float64)
    raw: np.ndarray = np.frombuffer(data, np.uint8)
    if what["dtype"] == "uint16":
        low, high = np.split(raw.astype(np.uint16), 2)
        raw = low | high << 8
    raw = raw.reshape(what["shape"])
    if what["filter"] == "delta":
        raw = raw.copy()
        raw[..., 1:] -= raw.dtype.type(DELTA_BIAS)
        raw = np.cumsum(raw, -1, dtype=raw.dtype)
    scale, offset = (_factor(what[key], raw.ndim, others) for key in ("scale", "offset"))
    return raw * scale + offset


def _factor(value: float | str, axes: int, others: dict[str, PackedArray]) -> np.ndarray:
    if not isinstance(value, str):
        return np.array(value)
    values = unpack(others[value], others)
    return values.reshape(values.shape + (1,) * (axes - values.ndim))


def compress_json(content: Any) -> str:
    """Base64 of gzip of a JSON text without spaces."""
    return compress(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode())
