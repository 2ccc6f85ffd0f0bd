"""Read arrays out of foreign pickles without running anything that the file names.

A pickle calls whatever it names. `RestrictedUnpickler` looks every name up in a table of our own stand-ins and
raises for any other name, so the worst that a file can do is to be refused.
"""

from __future__ import annotations

import io
import pickle  # noqa: TID251 - only to subclass Unpickler with a closed table of names
from collections.abc import Callable, Mapping
from math import prod
from typing import IO, Any

import numpy as np

Names = Mapping[tuple[str, str], Callable[..., Any]]


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickles plain values and, as stand-ins, the (module, name) pairs of `admitted`; others raise ValueError."""

    def __init__(self, file: IO[bytes], admitted: Names) -> None:
        super().__init__(file)
        self.admitted = admitted

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in self.admitted:
            names = sorted(".".join(pair) for pair in self.admitted)
            raise ValueError(f"refused to unpickle {module}.{name}: only {names} are admitted; do not trust this file")
        return self.admitted[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError(f"refused the external reference {pid!r}: this pickle should have none")


class _Dtype:
    """Stand-in for `numpy.dtype`: float32 and float64 only."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in ("f4", "f8"):
            raise ValueError(f"refused an array of type {code!r}: only f4 and f8 are admitted")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = {"<": "<", "=": "=", ">": ">"}[state[1]]


class _Array:
    """Stand-in for `numpy.ndarray`: takes shape, type and bytes; `array` is the real thing."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise ValueError("refused an array whose type or bytes are not plain")
        values = np.frombuffer(data, dtype=np.dtype(dtype.order + dtype.code))
        if values.size != prod(shape):
            raise ValueError(f"refused an array of shape {shape} with {values.size} values")
        self.array = values.reshape(shape, order="F" if fortran else "C")


def _new_array(*_: Any) -> _Array:
    return _Array()


NUMPY_NAMES: Names = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
}


def flatten(tree: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """A nested dict of arrays as one dict with keys joined by dots; anything else in it raises ValueError."""
    if isinstance(tree, _Array):
        return {prefix.removesuffix("."): tree.array}
    if not isinstance(tree, dict):
        raise ValueError(f"refused {type(tree).__name__} at {prefix!r}: expected dicts and arrays only")
    return {key: array for name, child in tree.items() for key, array in flatten(child, f"{prefix}{name}.").items()}


def read_numpy_pickle(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a pickled nested dict by dotted key; raises ValueError for anything but float arrays in dicts."""
    return flatten(RestrictedUnpickler(io.BytesIO(data), NUMPY_NAMES).load())
