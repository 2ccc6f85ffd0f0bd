"""Read the tensors of a torch file from before version 1.6 (pickles, then raw storages) without running it.

    magic | protocol | system | {key: view of a storage} | storage keys | (count, bytes) per storage

The four names that a plain state dict needs are admitted, as stand-ins; any other name raises.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openflextok.convert.restricted import Names, RestrictedUnpickler

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True)
class Storage:
    """A run of numbers by its key."""

    key: str
    dtype: type[np.number[Any]]
    count: int


@dataclass(frozen=True)
class View:
    """A tensor as part of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild(storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> View:
    return View(storage, offset, size, stride)


TORCH_NAMES: Names = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch", "FloatStorage"): np.float32,
    ("torch", "LongStorage"): np.int64,
}


class _LegacyUnpickler(RestrictedUnpickler):
    """Adds the references of torch to storages; the location (a device) is ignored."""

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _location, count, view = pid
        if kind != "storage" or view is not None:
            raise ValueError(f"refused the external reference {pid!r}: expected a whole storage")
        return Storage(key, dtype, count)


def read_legacy_state_dict(data: bytes) -> dict[str, Tensor]:
    """The state dict in `data` as CPU tensors; raises ValueError for another format or a name that is not admitted."""
    file = io.BytesIO(data)
    if RestrictedUnpickler(file, {}).load() != MAGIC or RestrictedUnpickler(file, {}).load() != PROTOCOL:
        raise ValueError("not a torch file of the legacy format")
    RestrictedUnpickler(file, {}).load()  # the writer's byte order and integer sizes: little endian in practice
    views = _LegacyUnpickler(file, TORCH_NAMES).load()
    keys = RestrictedUnpickler(file, {}).load()
    if not isinstance(views, dict) or not all(isinstance(view, View) for view in views.values()):
        raise ValueError("expected a flat state dict of tensors")
    storages = {view.storage.key: view.storage for view in views.values()}
    values: dict[str, Tensor] = {}
    for key in keys:
        (count,) = np.frombuffer(file.read(8), "<i8")
        storage = storages[key]
        if count != storage.count:
            raise ValueError(f"storage {key} has {count} values where the file promised {storage.count}")
        dtype = np.dtype(storage.dtype)
        values[key] = torch.tensor(np.frombuffer(file.read(int(count) * dtype.itemsize), dtype))
    return {
        name: values[view.storage.key].as_strided(view.size, view.stride, view.offset).clone()
        for name, view in views.items()
    }
