"""The safetensors format: a JSON header with the place of each tensor, then their bytes.

Eight bytes give the length of the header, little-endian. Nothing in the file can run.
"""

import json
import math
import os
import struct
from collections.abc import Mapping

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
# No header is longer; the bound keeps a broken file from asking for all memory.
MAX_HEADER = 100_000_000


def looks_like_safetensors(start: bytes, size: int) -> bool:
    """Whether a file of `size` bytes that begins with `start` is of this format."""
    length = struct.unpack("<Q", start[:8])[0] if len(start) > 8 else 0
    return 2 <= length <= min(MAX_HEADER, size - 8) and start[8:9] == b"{"


def read_safetensors(path: str) -> dict[str, Tensor]:
    """All tensors of a file.

    Raises:
        ValueError: the header is no JSON, or a tensor's place does not fit its shape or the file.
    """
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    return {name: _tensor(name, entry, data) for name, entry in header.items()}


def _tensor(name: str, entry: Mapping, data: bytearray) -> Tensor:
    dtype = DTYPES.get(entry["dtype"])
    if dtype is None:
        raise ValueError(f"{name} has type {entry['dtype']!r}; allowed: {sorted(DTYPES)}")
    (start, stop), shape = entry["data_offsets"], entry["shape"]
    size = math.prod(shape) * dtype.itemsize
    if not 0 <= start <= stop <= len(data) or stop - start != size:
        raise ValueError(f"{name} {shape} should lie at bytes {start} to {stop} of {len(data)}")
    if not size:
        return torch.empty(shape, dtype=dtype)
    # Bytes of their own: the whole file need not stay in memory for one tensor.
    return torch.frombuffer(bytearray(data[start:stop]), dtype=dtype).reshape(shape)


def write_safetensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors in the order of their names, with the note "pt" that transformers wants."""
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    chunks = []
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        chunk = tensor.flatten().view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(chunk)],
        }
        offset += len(chunk)
        chunks.append(chunk)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(chunks)
