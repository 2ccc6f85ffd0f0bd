"""What checkpoints are made of: safetensors read through a memory map, JSON, and folders replaced with care."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, with the reason and the remedy in one line."""


class Weights(ABC):
    """Tensors by the names of our modules."""

    shapes: Mapping[str, tuple[int, ...]]

    @abstractmethod
    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """One tensor on the CPU, in its own dtype or another."""


class WeightsFile(Weights):
    """A safetensors file: its header is read now, its tensors when asked for.

    A tensor wanted as it is stored stays a view of the file. One that must be converted or joined is read through a
    map of its own, which is given up with it: resident memory never holds both copies of a whole file.
    Errors: CheckpointError for pickles, missing, damaged or cut-off files.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix in PICKLES:
            raise CheckpointError(
                f"{path} is a pickle, which could run code and is never read: convert it to safetensors"
            )
        if not path.is_file():
            raise CheckpointError(f"{path} is missing{pickle_hint(path.parent) or ': get it, in one piece'}")
        self.path = path
        try:
            self._file = safe_open(path, "pt")
            self.metadata: dict[str, str] = self._file.metadata() or {}
            self.shapes = {name: tuple(self._file.get_slice(name).get_shape()) for name in self._file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged or cut off ({error}): copy or download it again") from None

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        stored = self._file.get_tensor(name)
        return stored if dtype in (None, stored.dtype) else self.join([name], dtype)

    def join(self, names: Sequence[str], dtype: torch.dtype | None = None) -> Tensor:
        """Several tensors of one shape, stacked along their first dimension, in new memory."""
        with safe_open(self.path, "pt") as file:
            first = file.get_tensor(names[0])
            joined = torch.empty((len(names), *first.shape), dtype=dtype or first.dtype)
            for place, name in enumerate(names):
                joined[place].copy_(file.get_tensor(name))
        return joined.flatten(0, 1) if len(names) > 1 else joined[0]


def is_whole(path: Path) -> bool:
    """Whether a safetensors file is there, and not cut off."""
    try:
        with safe_open(path, "pt"):
            return True
    except (SafetensorError, OSError):
        return False


def pickle_hint(folder: Path) -> str:
    """' (pickles such as X are never read...)' where a folder holds some."""
    pickles = sorted(p.name for p in folder.glob("*") if p.suffix in PICKLES)
    return f" (pickles such as {pickles[0]} are never read: convert to safetensors)" if pickles else ""


def fill(module: nn.Module, weights: Weights, dtype: torch.dtype | None, device: torch.device | str = "cpu") -> None:
    """Put weights into a module built on the meta device; refuses missing, unknown and misshapen entries by name."""
    expected = module.state_dict()
    found = weights.shapes
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "unknown": sorted(found.keys() - expected.keys()),
        "of another shape": sorted(k for k in expected.keys() & found.keys() if tuple(expected[k].shape) != found[k]),
    }
    for problem, names in problems.items():
        if names:
            raise CheckpointError(
                f"{len(names)} weights are {problem}: {', '.join(names[:3])}: wrong or damaged checkpoint"
            )
    module.load_state_dict({name: weights.read(name, dtype).to(device) for name in expected}, assign=True)
    module.to(device)  # what no file holds: tables of a quantizer


def read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}): copy the checkpoint again") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds a {type(data).__name__}, not an object: copy the checkpoint again")
    return data


FILES = {  # that checkpoints consist of
    "config.json", "model.safetensors", "diffusion_pytorch_model.safetensors", "README.md", "vae_config.json",
    "official.json", "official.safetensors", "openflextok.json",
}  # fmt: skip


def replaceable(folder: Path) -> Path:
    """A checkpoint takes the place of a checkpoint or of nothing, never of a folder with other files."""
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found and ("config.json" not in found or found - FILES):
        raise CheckpointError(f"{folder} holds other files and would be replaced: give a new or an empty folder")
    return folder
