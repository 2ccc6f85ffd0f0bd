"""Length policies: how many tokens each training sample keeps."""

from __future__ import annotations

import torch
from torch import Tensor

from openflextok.config import FullConfig, UniformChoiceConfig
from openflextok.interfaces import LengthPolicy
from openflextok.types import Draws, Slots


def power_lengths(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... below `most`, and `most` itself."""
    return (*(1 << power for power in range(most.bit_length()) if 1 << power < most), most)


class Full(LengthPolicy):
    """Every token, always: no order is learned."""

    def __init__(self, config: FullConfig) -> None:
        self.config = config

    def __call__(self, slots: Slots, draws: Draws) -> Tensor:
        return torch.ones(slots.values_BND.shape[:2], dtype=torch.bool, device=slots.values_BND.device)


class UniformChoice(LengthPolicy):
    """Nested dropout: each sample's length is drawn uniformly from `choices` (FlexTok, arXiv 2502.13967)."""

    def __init__(self, config: UniformChoiceConfig) -> None:
        self.config = config

    def __call__(self, slots: Slots, draws: Draws) -> Tensor:
        choices = torch.tensor(self.config.choices, device=draws.device)
        length_B = choices[(draws.uniform() * len(choices)).long()]
        position_N = torch.arange(slots.values_BND.shape[1], device=draws.device)
        return position_N[None] < length_B[:, None]
