"""Read the tensors of a TorchScript archive without running the code in it.

    archive.zip: NAME/data.pkl (a tree of modules), NAME/data/KEY (raw storages), NAME/code/ (never looked at)

Modules are read as bags of named values, whatever class they name; any other name than those of tensors is refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openflextok.convert.restricted import RestrictedUnpickler
from openflextok.convert.torch_legacy import TORCH_NAMES, Storage, View


class _Module:
    """Stand-in for every scripted class: its attributes, by name."""

    values: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise ValueError(f"refused a module with a state of type {type(state).__name__}")
        self.values = state


class _ScriptUnpickler(RestrictedUnpickler):
    """Admits scripted classes as bags of values, and lists of whole numbers."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if module.split(".")[0] == "__torch__":
            return _Module
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _location, count = pid
        if kind != "storage" or not isinstance(key, str) or not key.isalnum():
            raise ValueError(f"refused the external reference {pid!r}: expected a whole storage")
        return Storage(key, dtype, count)


NAMES = {**TORCH_NAMES, ("torch.jit._pickle", "build_intlist"): list}


def read_script_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of the archive by dotted name, on the CPU; ValueError for another format or names not admitted."""
    with zipfile.ZipFile(path) as archive:
        roots = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError(f"{path} is not a TorchScript archive: it has {len(roots)} files data.pkl")
        root = roots[0].removesuffix("data.pkl")
        with archive.open(roots[0]) as file:
            tree = _ScriptUnpickler(file, NAMES).load()
        if not isinstance(tree, _Module):
            raise ValueError(f"{path} holds no module")
        return {name: _tensor(view, archive.read(f"{root}data/{view.storage.key}")) for name, view in _walk(tree, "")}


def _walk(module: _Module, prefix: str) -> Iterator[tuple[str, View]]:
    for name, value in module.values.items():
        if isinstance(value, _Module):
            yield from _walk(value, f"{prefix}{name}.")
        elif isinstance(value, View):
            yield prefix + name, value


def _tensor(view: View, data: bytes) -> Tensor:
    values = torch.tensor(np.frombuffer(data, np.dtype(view.storage.dtype)))
    if len(values) != view.storage.count:
        raise ValueError(f"storage {view.storage.key} has {len(values)} values where {view.storage.count} are promised")
    return values.as_strided(view.size, view.stride, view.offset).clone()
