"""Samples of different lengths in one sequence, so that every linear layer sees all of them at once.

Shape suffixes: B samples of a group, L rows of one of them, R rows of the packed sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """Takes the place of an attention mask over one sequence (1, R, D): who looks at whom, group by group.

    rows: of each group, which rows of the sequence its samples are, (B, L). masks: of each group, as attention takes them.
    """

    rows: tuple[Tensor, ...]
    masks: tuple[Tensor | None, ...]
    inverse_R: Tensor

    def each(self, function: Callable[[Tensor, Tensor | None], Tensor], x_1Rx: Tensor) -> Tensor:
        """`function(rows of a group (B, L, ...), its mask) -> (B, L, D)` for every group, back in the packed order."""
        parts = [
            function(x_1Rx[0].index_select(0, rows_BL.flatten()).unflatten(0, rows_BL.shape), mask).flatten(0, 1)
            for rows_BL, mask in zip(self.rows, self.masks, strict=True)
        ]
        return torch.cat(parts).index_select(0, self.inverse_R)[None]


def pack_streams(
    samples: int, patches: int, registers: Sequence[int], masks: Sequence[Tensor | None], device: torch.device
) -> Packed:
    """Groups of `samples`, packed as [patches of all groups, registers of all groups].

    registers: how many a sample of each group has.
    """
    groups, start = [], len(registers) * samples * patches
    for i, count in enumerate(registers):
        patches_BL = torch.arange(samples * patches, device=device).view(samples, patches) + i * samples * patches
        registers_BL = torch.arange(samples * count, device=device).view(samples, count) + start
        groups.append(torch.cat([patches_BL, registers_BL], dim=1))
        start += samples * count
    return Packed(tuple(groups), tuple(masks), torch.cat([rows.flatten() for rows in groups]).argsort())
