"""Groups of samples, a length to each group, in one sequence: so every linear layer sees all rows at once.

Shape suffixes: B samples of a group, L rows of one of them, R rows of all groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def together(groups: Sequence[Tensor]) -> Tensor:
    """(B, L, D) of each group -> (1, R, D), one group after the other; a single group as it is."""
    return groups[0] if len(groups) == 1 else torch.cat([group.flatten(0, 1) for group in groups])[None]


def apart(x_1Rx: Tensor, groups: Sequence[Tensor]) -> list[Tensor]:
    """The way back: views (B, L, ...), shaped as `groups` are."""
    if len(groups) == 1:
        return [x_1Rx]
    shapes = [group.shape[:2] for group in groups]
    rows = x_1Rx[0].split([shape.numel() for shape in shapes])
    return [part.unflatten(0, shape) for part, shape in zip(rows, shapes, strict=True)]
