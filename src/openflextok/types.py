"""The small things that travel between the parts of a tokenizer.

Shape suffixes: B batch, N tokens, D token dimension, P patches, C channels, H x W pixels or latents. The annotations say
shapes and types of numbers; only the tests check them (tests/conftest.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from numbers import Integral
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class Losses:
    """Loss terms, already weighted, and plain figures for the log."""

    terms: Mapping[str, Tensor] = field(default_factory=dict)  # scalars; their sum is minimised
    metrics: Mapping[str, Tensor] = field(default_factory=dict)  # scalars, detached
    features_BPD: Float[Tensor, "B P D"] | None = None  # the decoder's early patch features, for alignment terms
    rebuilt_BCHW: Float[Tensor, "B C H W"] | None = (
        None  # the latents, where the decoder rebuilds them in one pass: for image terms
    )

    @property
    def total(self) -> Tensor:
        return torch.stack([term.float() for term in self.terms.values()]).sum()

    def __add__(self, other: Losses) -> Losses:
        features = self.features_BPD if other.features_BPD is None else other.features_BPD
        rebuilt = self.rebuilt_BCHW if other.rebuilt_BCHW is None else other.rebuilt_BCHW
        return Losses({**self.terms, **other.terms}, {**self.metrics, **other.metrics}, features, rebuilt)


@dataclass(frozen=True)
class Slots:
    """What the encoder says: one vector per register, before quantisation."""

    values_BND: Float[Tensor, "B N D"]
    halt_BN: Float[Tensor, "B N"] | None = None  # logits of "enough tokens here", for adaptive lengths


@dataclass(frozen=True)
class Quantized:
    """Slots after the quantizer: values that ids stand for, the ids, and the quantizer's own losses."""

    values_BND: Float[Tensor, "B N D"]
    ids_BN: Int64[Tensor, "B N"] | None
    losses: Losses = field(default_factory=Losses)


@dataclass(frozen=True)
class Tokens:
    """Ordered tokens of a batch, coarse to fine; `keep_BN` is True on the prefix that exists."""

    values_BND: Float[Tensor, "B N D"]
    ids_BN: Int64[Tensor, "B N"] | None
    keep_BN: Bool[Tensor, "B N"]

    def __len__(self) -> int:
        return self.values_BND.shape[0]

    def __getitem__(self, images: int | slice | Sequence[int] | Tensor) -> Tokens:
        """The tokens of some images, as a batch: of one by its number, of a slice, a list of numbers, or a mask (B,)."""
        number = whole(images.item() if isinstance(images, Tensor) and not images.ndim else images)
        chosen = images if number is None else [number]
        ids_BN = None if self.ids_BN is None else self.ids_BN[chosen]
        return replace(self, values_BND=self.values_BND[chosen], ids_BN=ids_BN, keep_BN=self.keep_BN[chosen])

    @property
    def ids(self) -> Int64[Tensor, "B N"]:
        """Token ids (B, N), int64, coarse to fine."""
        if self.ids_BN is None:
            raise ValueError("these tokens are continuous and have no ids: read `values_BND` instead")
        return self.ids_BN

    @property
    def lengths(self) -> Int64[Tensor, " B"]:
        """Number of kept tokens per image (B,), int64."""
        return self.keep_BN.sum(dim=1)

    def truncate(self, length: int | Sequence[int] | Tensor) -> Tokens:
        """Keep the first `length` tokens of each image (an int, or one per image).

        Errors: ValueError outside 1 <= length <= N, or where an image has fewer tokens than asked for.
        """
        length_B = check_lengths(length, len(self), self.keep_BN.shape[1]).to(self.keep_BN.device)
        short = self.lengths < length_B
        if bool(short.any()):
            have, want = int(self.lengths[short][0]), int(length_B[short][0])
            raise ValueError(f"cannot keep {want} tokens: an image of this batch has only {have} left")
        end = int(length_B.max())
        keep_BN = torch.arange(end, device=length_B.device)[None] < length_B[:, None]
        ids_BN = None if self.ids_BN is None else self.ids_BN[:, :end]
        return replace(self, values_BND=self.values_BND[:, :end], ids_BN=ids_BN, keep_BN=keep_BN)


def check_lengths(length: int | Sequence[int] | Tensor, batch: int, most: int) -> Int64[Tensor, " {batch}"]:
    """Lengths as an int64 tensor (B,), each checked to lie in 1..most."""
    length_B = torch.as_tensor(length)
    if length_B.is_floating_point() or length_B.dtype == torch.bool:
        raise ValueError(f"lengths must be whole numbers, not {length_B.dtype}: give ints with 1 <= length <= {most}")
    if length_B.ndim > 1 or (length_B.ndim == 1 and length_B.shape[0] != batch):
        raise ValueError(
            f"got lengths of shape {tuple(length_B.shape)} for {batch} images: give one int, or one per image"
        )
    for value in length_B.reshape(-1).tolist():
        if not 1 <= value <= most:
            raise ValueError(f"cannot keep {value} tokens: this tokenizer has {most} (1 <= length <= {most})")
    return length_B.long().expand(batch)


def check_seeds(seed: Any, batch: int, apart: int = 0) -> list[int]:
    """A seed for each image: given one by one, or as one number, of which image i gets seed + i * apart."""
    first = whole(seed)
    if first is not None:
        return [first + i * apart for i in range(batch)]
    seeds = []
    for given in np.atleast_1d(np.asarray(seed, dtype=object)):
        seeds.append(whole(given))
        if seeds[-1] is None:
            raise ValueError(f"seed {given!r} is not a whole number: give one int, or one per image")
    if len(seeds) != batch:
        raise ValueError(f"got {len(seeds)} seeds for {batch} images: give one int, or one per image")
    return seeds


def stack_ids(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Bool[Tensor, "B n"]]:
    """Rows of ids, maybe of different lengths, as one tensor, and which of its ids exist."""
    tensors = [torch.as_tensor(row) for row in rows]
    if not tensors or any(row.ndim != 1 for row in tensors):
        raise ValueError("ids are no list of ids for each image: give [[1, 2, 3], [4, 5], ...] or int64 (B, n)")
    kind = reduce(torch.promote_types, {row.dtype for row in tensors if len(row)} or {torch.int64})
    ids_BN = pad_sequence([row.to(kind) for row in tensors], batch_first=True)
    length_B = torch.tensor([len(row) for row in tensors])
    return ids_BN, torch.arange(ids_BN.shape[1]) < length_B[:, None]


def whole(value: Any) -> int | None:
    """The int that a whole number of Python, numpy or another library is; None for all else, truth values too."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def _stream_seed(seed: int) -> int:
    """torch's CPU generator reads 32 bits of its seed only: other numbers are hashed, so that all their bits count."""
    if 0 <= seed < 2**32:
        return seed
    return int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4], "little")


class Draws:
    """Random numbers with one stream per sample, so that no sample depends on its batch.

    Streams are CPU generators: the same numbers come out on every device and in every batch size.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._streams = [torch.Generator().manual_seed(_stream_seed(int(seed))) for seed in seeds]

    def __len__(self) -> int:
        return len(self._streams)

    def uniform(self) -> Float[Tensor, " B"]:
        """(B,) in [0, 1)."""
        return torch.cat([torch.rand(1, generator=stream) for stream in self._streams]).to(self.device)

    def normal(self, *shape: int) -> Float[Tensor, "B ..."]:
        """(B, *shape), standard normal."""
        return torch.stack([torch.randn(shape, generator=stream) for stream in self._streams]).to(self.device)
