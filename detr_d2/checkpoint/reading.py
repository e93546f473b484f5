"""Open a weight file, whatever it is called, without running anything that is in it."""

import argparse
import collections
import io
import json
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from detectron2.utils.file_io import PathManager

from detr_d2.checkpoint.safetensors import looks_like_safetensors, read_safetensors

# First bytes of the files that torch wrote before 1.6: a pickle of its magic number.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
HOW_TO_CONVERT = (
    "If you trust the file, convert it once with the program that wrote it: "
    "torch.save({'model': model.state_dict()}, 'weights.pth')"
)


class WeightsError(ValueError):
    """A weight file that is refused; the message says why and what to do."""


@dataclass
class Contents:
    """What a file holds.

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

    The kind of the file is told from its first bytes. Taken are: torch files (`weights_only`),
    safetensors, and pickles of NumPy arrays as Detectron2 has them (`.pkl`).

    Raises:
        WeightsError: it is of another kind, broken, or wants to run code.
        FileNotFoundError: it is not there.
    """
    path = location if os.path.exists(location) else PathManager.get_local_path(location)
    if os.path.isdir(path):
        return _read_folder(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"weights {location} are not there")
    return Contents(location, _read_file(path), _config_beside(path), _categories_beside(path))


def _read_folder(path: str) -> Contents:
    config = _config_beside(os.path.join(path, "config.json"))
    for name in FOLDER_FILES:
        file = os.path.join(path, name)
        if os.path.isfile(file):
            return Contents(path, _read_file(file), config)
        if os.path.isfile(f"{file}.index.json"):
            with open(f"{file}.index.json", encoding="utf-8") as index:
                shards = sorted(set(json.load(index)["weight_map"].values()))
            # Only files of this folder, whatever the index says.
            parts = [_read_file(os.path.join(path, os.path.basename(s))) for s in shards]
            return Contents(path, {k: v for part in parts for k, v in part.items()}, config)
    raise WeightsError(f"folder {path} has none of {', '.join(FOLDER_FILES)}: give the file itself")


def _config_beside(path: str) -> dict[str, Any]:
    """`config.json` of the file's folder if it describes a DETR, else nothing."""
    config = _json_beside(path, "config.json")
    is_detr = isinstance(config, dict) and config.get("model_type") == "detr"
    return config if is_detr else {}


def _categories_beside(path: str) -> tuple[str, ...]:
    content = _json_beside(path, "categories.json")
    return tuple(entry["name"] for entry in content) if isinstance(content, list) else ()


def _json_beside(path: str, name: str) -> Any:
    """Content of a file in the same folder; None if there is none, or it is no JSON."""
    try:
        with open(os.path.join(os.path.dirname(path), name), encoding="utf-8") as file:
            return json.load(file)
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
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise WeightsError(f"{path} is refused: {error}\n{HOW_TO_CONVERT}") from error
    if not isinstance(data, dict):
        raise WeightsError(f"{path} holds a {type(data).__name__}, not a dictionary of weights")
    return data


def _reader(start: bytes, size: int) -> Callable[[str], Any] | None:
    if start.startswith((b"PK\x03\x04", OLD_TORCH)):
        return _read_torch
    if looks_like_safetensors(start, size):
        return read_safetensors
    return _read_pickle if start[:1] == b"\x80" else None


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


def _read_pickle(path: str) -> Any:
    with open(path, "rb") as file:
        return ArrayUnpickler(file, encoding="latin1").load()


def _encode(text: str, encoding: str) -> bytes:
    """The one use of `_codecs.encode` in pickles of arrays: bytes written by Python 3 for 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}, expected latin1")
    return text.encode(encoding)


def _array_globals() -> Mapping[tuple[str, str], Any]:
    allowed: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode,
    }
    # How NumPy itself rebuilds arrays and numbers, under the old and the new name of the module.
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed[module, "_reconstruct"] = np.zeros(0).__reduce__()[0]
        allowed[module, "scalar"] = np.float64(0).__reduce__()[0]
    return allowed


class ArrayUnpickler(pickle.Unpickler):
    """Rebuilds dictionaries, lists, numbers, strings and NumPy arrays; anything else is refused."""

    allowed = _array_globals()

    def __init__(self, file: io.BufferedIOBase | io.BufferedReader, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        """Called by pickle for every class and function that the file wants to use."""
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the pickle wants to use {module}.{name}, which could run code; only NumPy arrays "
                "in dictionaries and lists are read"
            ) from None
