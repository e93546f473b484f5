"""Open a weight file, whatever its name, without running anything that is in it."""

import argparse
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from detectron2.utils.file_io import PathManager
from safetensors.torch import load_file

from detr_d2.checkpoint.array_pickle import read_array_pickle
from detr_d2.utils.files import read_json

# First bytes of the files that torch wrote before 1.6: a pickle of its magic number.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# No header of safetensors is longer.
MAX_HEADER = 100_000_000
FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
HOW_TO_CONVERT = (
    "If you trust the file, convert it once with the program that wrote it: "
    "torch.save({'model': model.state_dict()}, 'weights.pth')"
)


class WeightsError(ValueError):
    """A weight file that is rejected; the message says why and what to do."""


@dataclass
class Contents:
    """The content of a weight file.

    Attributes:
        path: where it was read, for messages.
        data: the file's dictionary, of tensors or NumPy arrays, perhaps nested.
        config: `config.json` of a Hugging Face folder, if there is one.
        categories: names of the classes by `categories.json`, which our trainings write.
    """

    path: str
    data: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    categories: tuple[str, ...] = ()


def read_contents(location: str) -> Contents:
    """Read a file, a Hugging Face folder, or a URL that Detectron2's path manager knows.

    The kind of the file is recognised by its first bytes. Taken are: torch files (`weights_only`),
    safetensors, and pickles of NumPy arrays as Detectron2 has them (`.pkl`).

    Raises:
        WeightsError: it is of another kind, broken, wants to run code, or cannot be downloaded.
        FileNotFoundError: it is not there.
    """
    path = location if os.path.exists(location) else _download(location)
    if os.path.isdir(path):
        return _read_folder(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"weights {location} are not there")
    return Contents(location, _read_file(path), _config_beside(path), _categories_beside(path))


def _download(location: str) -> str:
    try:
        local: str = PathManager.get_local_path(location)
    except OSError as error:
        raise WeightsError(
            f"{location} cannot be downloaded ({error}); of a copy of it: MODEL.WEIGHTS FILE"
        ) from error
    return local


def _read_folder(path: str) -> Contents:
    config = _config_beside(os.path.join(path, "config.json"))
    for name in FOLDER_FILES:
        file = os.path.join(path, name)
        if os.path.isfile(file):
            return Contents(path, _read_file(file), config)
        if os.path.isfile(f"{file}.index.json"):
            parts = [_read_file(os.path.join(path, s)) for s in _shards(f"{file}.index.json")]
            return Contents(path, {k: v for part in parts for k, v in part.items()}, config)
    raise WeightsError(f"folder {path} has none of {', '.join(FOLDER_FILES)}: give the file itself")


def _shards(index: str) -> list[str]:
    """Names of the files that an index lists."""
    try:
        content = read_json(index)
        # Only files of this folder, whatever the index says.
        return sorted({os.path.basename(name) for name in content["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index}: no index of weight files ({error})") from error


def _config_beside(path: str) -> dict[str, Any]:
    """`config.json` of the file's folder if it describes a DETR, else nothing.

    Raises:
        WeightsError: it does, and what is read of it is malformed.
    """
    config = _json_beside(path, "config.json")
    if not isinstance(config, dict) or config.get("model_type") != "detr":
        return {}
    names, heads = config.get("id2label", {}), config.get("encoder_attention_heads", 8)
    if not isinstance(names, dict) or not all(key.isdecimal() for key in names):
        raise WeightsError(f"config.json beside {path}: id2label must map numbers to names")
    if type(heads) is not int or heads < 1:
        raise WeightsError(f"config.json beside {path}: encoder_attention_heads is {heads!r}")
    return config


def _categories_beside(path: str) -> tuple[str, ...]:
    """Names of the classes in the order of `CategoryTable`: things first, then by id.

    Empty where there is no such file, or an entry lacks what the order needs.
    """
    content = _json_beside(path, "categories.json")
    entries = content if isinstance(content, list) else []
    try:
        ordered = sorted(entries, key=lambda entry: (not entry["isthing"], entry["id"]))
        return tuple(str(entry["name"]) for entry in ordered)
    except (TypeError, KeyError):
        return ()


def _json_beside(path: str, name: str) -> Any:
    """Content of a file in the same folder; None if there is none, or it is no JSON."""
    try:
        return read_json(os.path.join(os.path.dirname(path), name))
    except (OSError, ValueError):
        return None


def _read_file(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        start = file.read(64)
    read = _reader(start, os.path.getsize(path))
    if read is None:
        raise WeightsError(
            f"{path} is {_describe(start)}; weights are read from torch files (.pth, .pt, .bin), "
            f"safetensors, and Detectron2's .pkl. {HOW_TO_CONVERT}"
        )
    try:
        data = read(path)
    # Readers of damaged files raise whatever they stumble over.
    except Exception as error:
        raise WeightsError(f"{path} is rejected: {_reason(error)}\n{HOW_TO_CONVERT}") from error
    if not isinstance(data, dict):
        raise WeightsError(f"{path} holds a {type(data).__name__}, not a dictionary of weights")
    return data


def _reader(start: bytes, size: int) -> Callable[[str], Any] | None:
    if start.startswith((b"PK\x03\x04", OLD_TORCH)):
        return _read_torch
    if _is_safetensors(start, size):
        return load_file
    return read_array_pickle if start[:1] == b"\x80" else None


def _is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file of `size` bytes begins with the length of a JSON header, and the header."""
    length = struct.unpack("<Q", start[:8])[0] if len(start) > 8 else 0
    return 2 <= length <= min(MAX_HEADER, size - 8) and start[8:9] == b"{"


def _reason(error: Exception) -> str:
    """The message, and the kind of error where the message alone says little."""
    text = str(error).strip()
    return text if len(text.split()) > 3 else f"{type(error).__name__} {text}".strip()


def _describe(start: bytes) -> str:
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself (fetch it with `git lfs pull`)"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page, not weights (the download went wrong)"
    return "of an unknown kind" if start else "empty"


def _read_torch(path: str) -> Any:
    # The original DETR keeps the arguments of its command line in each checkpoint: plain values.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)
