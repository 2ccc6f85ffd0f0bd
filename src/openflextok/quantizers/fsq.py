"""Finite scalar quantization (arXiv 2309.15505), with the conventions of FlexTok's released weights.

    z -> bound to L levels per dimension -> round (straight-through) -> values in [-1, 1]; id = mixed-radix number

Shape suffixes: B batch, N tokens, D dimensions (one per entry of `levels`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from openflextok.config import FSQConfig
from openflextok.interfaces import Quantizer
from openflextok.types import Losses, Quantized

EPSILON = 1e-3


class FSQ(Quantizer):
    """Rounds each dimension to one of L levels; ids are little-endian (first dimension fastest).

    All arithmetic is float32, also under autocast: bfloat16 cannot hold ids above 256.
    """

    levels_D: Tensor
    strides_D: Tensor

    def __init__(self, config: FSQConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook_size = math.prod(config.levels)
        self.bits_per_token = math.log2(self.codebook_size)
        # not in the state dict, hence made with data even when a module is built on the meta device
        levels = torch.tensor(config.levels, device="cpu")
        strides = torch.tensor([math.prod(config.levels[:i]) for i in range(len(config.levels))], device="cpu")
        self.register_buffer("levels_D", levels, persistent=False)
        self.register_buffer("strides_D", strides, persistent=False)

    def bound(self, z_BND: Tensor) -> Tensor:
        """Squash each dimension so that rounding gives exactly its L levels; float32."""
        half = (self.levels_D - 1) * (1 + EPSILON) / 2
        offset = torch.where(self.levels_D % 2 == 0, 0.5, 0.0)
        shift = torch.atanh(offset / half)
        return torch.tanh(z_BND.float() + shift) * half - offset

    def forward(self, z_BND: Tensor) -> Quantized:
        with torch.autocast(z_BND.device.type, enabled=False):
            half_width = self.levels_D // 2
            bounded = self.bound(z_BND)
            rounded = bounded.round()
            values = (bounded + (rounded - bounded).detach()) / half_width
            digits = rounded.detach().long() + half_width
            return Quantized(values, (digits * self.strides_D).sum(-1), self.saturation(z_BND))

    def saturation(self, z_BND: Tensor) -> Losses:
        """Mean square of what exceeds +-2: tanh is flat there, and a slot that drifted off would stay at one code."""
        if self.config.saturation_weight == 0:
            return Losses()
        excess = torch.relu(z_BND.float().abs() - 2)
        return Losses({"saturation": self.config.saturation_weight * excess.square().mean()})

    def lookup(self, ids_BN: Tensor) -> Tensor:
        """Ids in [0, codebook_size) -> values in [-1, 1], float32."""
        half_width = self.levels_D // 2
        digits = ids_BN[..., None] // self.strides_D % self.levels_D
        return (digits - half_width) / half_width
