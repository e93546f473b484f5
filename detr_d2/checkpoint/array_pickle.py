"""Read pickles of NumPy arrays, such as Detectron2's `.pkl`, without running anything in them.

NumPy's own rebuilding functions trust the file: a doctored type makes them read memory that is not
theirs. So none of them is called: types and arrays are rebuilt here, from plain numbers only.
"""

import collections
import math
import pickle
import re
from typing import Any

import numpy as np

# Booleans, integers, and floats of up to 8 bytes, as NumPy abbreviates them.
PLAIN_TYPE = re.compile(r"b1|[iu][1248]|f[248]")


class _Type:
    """The type of an array's numbers, as the pickle describes it."""

    def __init__(self, name: Any, *_: Any) -> None:
        if not isinstance(name, str) or not PLAIN_TYPE.fullmatch(name):
            raise pickle.UnpicklingError(f"numbers of type {name!r}; only plain ones are read")
        self.type = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        # Version, byte order, then what only types made of others have; sizes are not believed.
        order = state[1]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError(f"a type with state {state!r:.80}")
        self.type = self.type.newbyteorder(order)


class _Array:
    """An array in the making; `value` when its state has been set."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        self.value = _numbers(kind, data, shape, "F" if is_fortran else "C")


def _numbers(kind: Any, data: Any, shape: Any, order: Any = "C") -> np.ndarray:
    if not isinstance(kind, _Type):
        raise pickle.UnpicklingError("numbers without a type")
    # Python 2 wrote the bytes as text.
    content = data.encode("latin1") if isinstance(data, str) else data
    sides = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    if not isinstance(content, bytes) or not sides:
        raise pickle.UnpicklingError(f"an array of shape {shape!r:.80} is malformed")
    if len(content) != math.prod(shape) * kind.type.itemsize:
        raise pickle.UnpicklingError(f"shape {shape}, type {kind.type}: {len(content)} bytes")
    if kind.type == np.bool_:
        native = np.frombuffer(content, np.uint8) != 0
    else:
        native = np.frombuffer(content, kind.type).astype(kind.type.newbyteorder("="))
    return native.reshape(shape, order=order)


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(kind: Any, data: Any) -> Any:
    return _numbers(kind, data, ())[()]


def _encode(text: str, encoding: str) -> bytes:
    """The one use of `_codecs.encode` in pickles of arrays: bytes written by Python 3 for 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}, expected latin1")
    return text.encode(encoding)


def _no_bytes(*content: Any) -> bytes:
    """The one use of `bytes` in pickles of arrays: Python 3's empty bytes, written for 2."""
    if content:
        raise pickle.UnpicklingError("bytes() is read without arguments only")
    return b""


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    # The old and the new name of NumPy's module.
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}


class ArrayUnpickler(pickle.Unpickler):
    """Rebuilds dictionaries, lists, numbers, strings and NumPy arrays; rejects all else."""

    def find_class(self, module: str, name: str) -> Any:
        """Called by pickle for every class and function that the file wants to use."""
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the pickle wants to use {module}.{name}, which could run code; only NumPy arrays "
                "in dictionaries and lists are read"
            ) from None


def read_array_pickle(path: str) -> Any:
    """Read a pickle of dictionaries, lists and NumPy arrays.

    Raises:
        pickle.UnpicklingError: it wants to use anything else, or an array is malformed.
    """
    with open(path, "rb") as file:
        content = ArrayUnpickler(file, encoding="latin1").load()
    return _finished(content, {})


def _finished(value: Any, done: dict[int, Any]) -> Any:
    """Put the arrays in the place of what they were built in, in dictionaries and sequences.

    Args:
        done: results by the id of what they replace: a value that a file names a thousand times is
            walked through once.
    """
    if id(value) not in done:
        if isinstance(value, _Array):
            if value.value is None:
                raise pickle.UnpicklingError("an array without content")
            done[id(value)] = value.value
        elif isinstance(value, dict):
            pairs = [(key, _finished(entry, done)) for key, entry in value.items()]
            done[id(value)] = type(value)(pairs)
        elif isinstance(value, list | tuple):
            done[id(value)] = type(value)(_finished(entry, done) for entry in value)
        else:
            return value
    return done[id(value)]
