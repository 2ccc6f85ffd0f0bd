"""How the decoder shows that a token is absent.

Shape suffixes: B batch, N tokens, P patches, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Shown:
    """What a generating decoder sees of some rows of a batch."""

    rows: Tensor
    registers_BND: Tensor
    counts_BN: Tensor | None  # how many equal registers each one stands for; None: one each
    null_count: int  # how many null registers the unconditional pass has, all equal


class Absence(ABC):
    """Registers and which of them to keep -> registers that the transformer sees."""

    uses_mask_token: bool

    @abstractmethod
    def batch(
        self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int
    ) -> tuple[Tensor, Tensor | None]:
        """One ragged batch, for training: registers, and which of them exist (B, n), None for all."""

    @abstractmethod
    def groups(self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Iterator[Shown]:
        """For decoding: the batch in groups whose rows have equally many registers."""


class MaskToken(Absence):
    """The official form: one learned vector, without a position, stands for every absent token of `total`.

    Equal inputs stay equal through every block, so a decoder need not carry them all: when it generates, one register
    stands for all absent ones, its attention weight multiplied by their number. The result is the same.
    """

    uses_mask_token = True

    def batch(
        self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int
    ) -> tuple[Tensor, Tensor | None]:
        mask_token_D = mask_token_D.to(registers_BND.dtype)
        kept_BND = torch.where(keep_BN[..., None], registers_BND, mask_token_D)
        absent_BND = mask_token_D.expand(kept_BND.shape[0], total - kept_BND.shape[1], -1)
        return torch.cat([kept_BND, absent_BND], dim=1), None

    def groups(self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Iterator[Shown]:
        rows = torch.arange(len(keep_BN), device=keep_BN.device)
        kept_B = keep_BN.sum(1)
        n = min(total, int(kept_B.max()) + 1)
        shown_BND, _ = self.batch(registers_BND[:, :n], keep_BN[:, :n], mask_token_D, n)
        each_B = (total - kept_B) / (n - kept_B).clamp(min=1)
        exists_BN = torch.arange(n, device=rows.device) < kept_B[:, None]
        counts_BN = None if n == total else torch.where(exists_BN, 1.0, each_B[:, None])
        yield Shown(rows, shown_BND, counts_BN, total)


class Removed(Absence):
    """Absent tokens leave the sequence, so that fewer tokens cost less."""

    uses_mask_token = False

    def batch(
        self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int
    ) -> tuple[Tensor, Tensor | None]:
        longest = int(keep_BN.sum(1).max())
        return registers_BND[:, :longest], keep_BN[:, :longest]

    def groups(self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Iterator[Shown]:
        length_B = keep_BN.sum(1)
        for length in length_B.unique().tolist():
            rows = (length_B == length).nonzero()[:, 0]
            yield Shown(rows, registers_BND[rows, :length], None, length)


FORMS: dict[str, Absence] = {"mask": MaskToken(), "remove": Removed()}


def form_of(name: str) -> Absence:
    """A form of absence by name; ValueError names the known ones."""
    if name not in FORMS:
        raise ValueError(f"unknown absence {name!r}: give one of {', '.join(FORMS)}")
    return FORMS[name]


def key_mask(exists_BN: Tensor | None, patches: int) -> Tensor | None:
    """Attention mask (B, 1, 1, P + n) over keys, True where they exist; None when all do."""
    return None if exists_BN is None else F.pad(exists_BN, (patches, 0), value=True)[:, None, None]


def key_counts(counts_BN: Tensor | None, patches: int) -> Tensor | None:
    """What to add to attention scores (B, 1, 1, P + n) so that each register weighs as many; None when all weigh one."""
    return None if counts_BN is None else F.pad(counts_BN.log(), (patches, 0))[:, None, None]
