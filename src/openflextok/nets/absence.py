"""How the decoder shows that a token is absent.

Shape suffixes: B batch, N tokens, P patches, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


class Absence(ABC):
    """Registers and which of them to keep -> registers that the transformer sees."""

    uses_mask_token: bool

    @abstractmethod
    def batch(
        self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int
    ) -> tuple[Tensor, Tensor | None]:
        """One ragged batch, for training: registers, and which of them exist (B, n), None for all."""

    @abstractmethod
    def groups(
        self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """For decoding: (rows of the batch, their registers) in groups that need no attention mask."""


class MaskToken(Absence):
    """The official form: one learned vector, without a position, stands for every absent token of `total`."""

    uses_mask_token = True

    def batch(
        self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int
    ) -> tuple[Tensor, Tensor | None]:
        mask_token_D = mask_token_D.to(registers_BND.dtype)
        kept_BND = torch.where(keep_BN[..., None], registers_BND, mask_token_D)
        absent_BND = mask_token_D.expand(kept_BND.shape[0], total - kept_BND.shape[1], -1)
        return torch.cat([kept_BND, absent_BND], dim=1), None

    def groups(
        self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        rows = torch.arange(len(keep_BN), device=keep_BN.device)
        yield rows, self.batch(registers_BND, keep_BN, mask_token_D, total)[0]


class Removed(Absence):
    """Absent tokens leave the sequence, so that fewer tokens cost less."""

    uses_mask_token = False

    def batch(
        self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int
    ) -> tuple[Tensor, Tensor | None]:
        longest = int(keep_BN.sum(1).max())
        return registers_BND[:, :longest], keep_BN[:, :longest]

    def groups(
        self, registers_BND: Tensor, keep_BN: Tensor, mask_token_D: Tensor, total: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        length_B = keep_BN.sum(1)
        for length in length_B.unique().tolist():
            rows = (length_B == length).nonzero()[:, 0]
            yield rows, registers_BND[rows, :length]


FORMS: dict[str, Absence] = {"mask": MaskToken(), "remove": Removed()}


def key_mask(exists_BN: Tensor | None, patches: int) -> Tensor | None:
    """Attention mask (B, 1, 1, P + n) over keys, True where they exist; None when all do."""
    return None if exists_BN is None else F.pad(exists_BN, (patches, 0), value=True)[:, None, None]
