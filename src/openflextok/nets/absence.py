"""How the decoder shows that a token is absent.

Shape suffixes: B batch, N tokens, P patches, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SHARES = 4  # of a training batch: more waste less on padding, and give the matrix products fewer rows each


@dataclass(frozen=True)
class Shown:
    """What a decoder sees of some rows of a batch."""

    rows: Tensor
    registers_BND: Tensor
    counts_BN: Tensor | None  # how many equal registers each one stands for, 0 where there is none; None: one each
    null_count: int  # how many null registers the unconditional pass has, all equal


class Absence(ABC):
    """Registers and which of them to keep -> registers that the transformer sees."""

    uses_mask_token: bool

    @abstractmethod
    def show(self, rows: Tensor, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Shown:
        """Some rows of a ragged batch, with as few registers as the longest of them needs."""

    @abstractmethod
    def groups(self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Iterator[Shown]:
        """For decoding: the batch in groups without padding."""

    def shares(self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Iterator[Shown]:
        """For training: the batch sorted by length and cut into a few shares, so that short samples cost less."""
        for rows in keep_BN.sum(1).argsort(stable=True).chunk(SHARES):
            yield self.show(rows, registers_BND, keep_BN, mask_token_D, total)


class MaskToken(Absence):
    """The official form: one learned vector, without a position, stands for every absent token of `total`.

    Equal inputs stay equal through every block, so a decoder need not carry them all: one register stands for all
    absent ones, its attention weight multiplied by their number. The result is the same, and so are the gradients.
    """

    uses_mask_token = True

    def fill(self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Tensor:
        """The definition: `total` registers, the mask token in place of each absent one."""
        mask_token_D = mask_token_D.to(registers_BND.dtype)
        kept_BND = torch.where(keep_BN[..., None], registers_BND, mask_token_D)
        absent_BND = mask_token_D.expand(kept_BND.shape[0], total - kept_BND.shape[1], -1)
        return torch.cat([kept_BND, absent_BND], dim=1)

    def show(self, rows: Tensor, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Shown:
        kept_B = keep_BN[rows].sum(1)
        n = min(total, int(kept_B.max()) + 1)
        shown_BND = self.fill(registers_BND[rows, :n], keep_BN[rows, :n], mask_token_D, n)
        each_B = (total - kept_B) / (n - kept_B).clamp(min=1)
        exists_BN = torch.arange(n, device=rows.device) < kept_B[:, None]
        counts_BN = None if n == total else torch.where(exists_BN, 1.0, each_B[:, None])
        return Shown(rows, shown_BND, counts_BN, total)

    def groups(self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Iterator[Shown]:
        rows = torch.arange(len(keep_BN), device=keep_BN.device)
        yield self.show(rows, registers_BND, keep_BN, mask_token_D, total)


class Removed(Absence):
    """Absent tokens leave the sequence, so that fewer tokens cost less."""

    uses_mask_token = False

    def show(self, rows: Tensor, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Shown:
        longest = int(keep_BN[rows].sum(1).max())
        exists_BN = keep_BN[rows, :longest]
        counts_BN = None if bool(exists_BN.all()) else exists_BN.float()
        return Shown(rows, registers_BND[rows, :longest], counts_BN, longest)

    def groups(self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int) -> Iterator[Shown]:
        length_B = keep_BN.sum(1)
        for length in length_B.unique():
            rows = (length_B == length).nonzero()[:, 0]
            yield self.show(rows, registers_BND, keep_BN, mask_token_D, total)


def each_share(shares: Iterable[Shown], run: Callable[[Shown], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What `run` makes of every share, row by row in the order of the batch."""
    done = [(shown.rows, *run(shown)) for shown in shares]
    rows, first, second = (torch.cat(part) for part in zip(*done, strict=True))
    order_B = rows.argsort()
    return first[order_B], second[order_B]


FORMS: dict[str, Absence] = {"mask": MaskToken(), "remove": Removed()}


def form_of(name: str) -> Absence:
    """A form of absence by name; ValueError names the known ones."""
    if name not in FORMS:
        raise ValueError(f"unknown absence {name!r}: give one of {', '.join(FORMS)}")
    return FORMS[name]


def key_counts(counts_BN: Tensor | None, patches: int) -> Tensor | None:
    """What to add to attention scores (B, 1, 1, P + n) so that each register weighs as many; None: all weigh one."""
    return None if counts_BN is None else F.pad(counts_BN.log(), (patches, 0))[:, None, None]
