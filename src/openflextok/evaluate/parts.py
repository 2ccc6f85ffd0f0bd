"""What was measured of one stretch of images, and the file that it is kept in.

    parts/plan.json                      what all parts depend on
    parts/part-00000.safetensors ...     each written whole or not at all

Shapes: B images, L lengths, S decode seeds, N tokens, D features, P pictures kept to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from openflextok.files import atomic_file


@dataclass
class Part:
    """The figures of one stretch, by name; any name may be missing where a stretch has no readable image."""

    values: dict[str, Tensor] = field(default_factory=dict)
    """Of each image: (L,S,B) float64; of a codec, L are its points."""
    features: dict[str, Tensor] = field(default_factory=dict)
    """Of made images: (L,S,B,D) float32; of real ones: (B,D)."""
    tokens: dict[str, Tensor] = field(default_factory=dict)
    """(B,N): ids, and bits of each; of a codec, what tells the files of its points apart."""
    pictures: dict[str, Tensor] = field(default_factory=dict)
    """uint8 (P,H,W,3)."""


def part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.safetensors"


def write_part(folder: Path, number: int, part: Part) -> None:
    """Write a part, whole or not at all."""
    groups = vars(part).items()
    flat = {f"{group}/{name}": tensor.contiguous() for group, named in groups for name, tensor in named.items()}
    with atomic_file(part_path(folder, number)) as temporary:
        save_file(flat or {"empty": torch.zeros(0)}, temporary)


@dataclass(frozen=True)
class Parts:
    """All parts of a job, read from their files as they are asked for."""

    folder: Path
    count: int

    def values(self, name: str) -> Tensor:
        """(L,S,B) over all images, in order."""
        return torch.cat(list(self._each(f"values/{name}")), dim=-1)

    def real_features(self, name: str) -> Tensor:
        """(B,D) over all images, in order."""
        return torch.cat(list(self._each(f"features/{name}")))

    def made_features(self, name: str, length: int, seed: int) -> Tensor:
        """(B,D) over all images, in order, at one place of the lengths and seeds."""
        return torch.cat(list(self._each(f"features/{name}", (length, seed))))

    def seeds(self, name: str) -> int:
        """How many decode seeds there are of made features."""
        return next(self._each(f"features/{name}", (0,))).shape[0]

    def tokens(self, name: str) -> Tensor:
        """(B,N) over all images, in order."""
        return torch.cat(list(self._each(f"tokens/{name}")))

    def pictures(self, name: str) -> Tensor:
        """uint8 (P,H,W,3), in order."""
        return torch.cat(list(self._each(f"pictures/{name}")))

    def has(self, group: str, name: str) -> bool:
        """Whether any part holds it."""
        return any(True for _ in self._each(f"{group}/{name}"))

    def _each(self, name: str, place: Sequence[int] = ()) -> Iterator[Tensor]:
        for number in range(self.count):
            with safe_open(part_path(self.folder, number), "pt") as file:
                if name in file.keys():  # noqa: SIM118  (no mapping)
                    yield file.get_slice(name)[tuple(place)] if place else file.get_tensor(name)
