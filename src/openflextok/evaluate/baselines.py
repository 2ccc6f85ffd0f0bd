"""What a generator has to beat: ids drawn without a model, and how many bits they cost.

Shape suffixes: R rows of a training set, B images wanted, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def uniform_ids(codebook_size: int, batch: int, tokens: int, seed: int) -> Tensor:
    """(B, N) ids, each as likely as any other."""
    return torch.randint(codebook_size, (batch, tokens), generator=torch.Generator().manual_seed(seed))


def unigram_ids(train_RN: Tensor, batch: int, seed: int) -> Tensor:
    """(B, N) ids drawn from all ids of the training rows, at any position."""
    pool = train_RN.flatten()
    place = torch.randint(len(pool), (batch, train_RN.shape[1]), generator=torch.Generator().manual_seed(seed))
    return pool[place]


def class_shuffled_ids(
    train_RN: Tensor, labels: Sequence[str | None], wanted: Sequence[str | None], seed: int
) -> Tensor:
    """(B, N) ids: token n of an image is token n of a training row of its class, another row for each n.

    What is left is what each position says of the class; what positions say of each other is gone.
    """
    stream = torch.Generator().manual_seed(seed)
    rows_of: dict[str | None, Tensor] = {}
    for label in set(wanted):
        found = [row for row, other in enumerate(labels) if other == label]
        if not found:
            raise ValueError(f"no training row has the label {label!r}: nothing to shuffle")
        rows_of[label] = torch.tensor(found)
    position_N = torch.arange(train_RN.shape[1])
    images = []
    for label in wanted:
        choice_N = torch.randint(len(rows_of[label]), position_N.shape, generator=stream)
        images.append(train_RN[rows_of[label][choice_N], position_N])
    return torch.stack(images)


def uniform_bits(codebook_size: int) -> float:
    """Bits per token without any knowledge."""
    return math.log2(codebook_size)


def unigram_bits(train_RN: Tensor, heldout_BN: Tensor, codebook_size: int, extra: float = 1.0) -> float:
    """Bits per held-out token under the frequencies of training ids, `extra` counts added to each id."""
    counts = torch.bincount(train_RN.flatten(), minlength=codebook_size).double() + extra
    return -(counts / counts.sum()).log2()[heldout_BN].mean().item()


def position_unigram_bits(train_RN: Tensor, heldout_BN: Tensor, codebook_size: int, extra: float = 0.1) -> float:
    """The same with frequencies of each position alone."""
    tokens = range(train_RN.shape[1])
    bits = [unigram_bits(train_RN[:, [n]], heldout_BN[:, [n]], codebook_size, extra) for n in tokens]
    return sum(bits) / len(bits)
