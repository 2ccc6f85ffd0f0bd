"""Transformer blocks: the encoder's pre-norm block, and the decoder's two-stream block with adaLN-zero.

Shape suffixes: B batch (1 where a tensor serves all samples), L sequence, P patches, D width, F hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok.nets.attention import Attention, layer_norm
from openflextok.nets.packing import apart, together


class SwiGLU(nn.Module):
    """down(silu(gate) * up) with hidden width int(8 D / 3); no biases."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(2 * 4 * width / 3)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        gate_BLF, up_BLF = self.gate_up(x_BLD).chunk(2, dim=-1)
        in_place = not (torch.is_grad_enabled() or torch.compiler.is_compiling())  # saves writing to new memory
        return self.down(F.silu(gate_BLF, inplace=in_place) * up_BLF)


class AnyBlock(nn.Module):
    """What a transformer repeats: compiled and sharded as one."""


class Block(AnyBlock):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.attention = Attention(width, head_dim)
        self.mlp = SwiGLU(width)

    def forward(self, x_BLD: Tensor, mask: Tensor | None = None) -> Tensor:
        x_BLD = x_BLD + self.attention(layer_norm(x_BLD), mask)
        return x_BLD + self.mlp(layer_norm(x_BLD))


def per_row(numbers_B2D: Tensor, patches: int, length: int) -> Tensor:
    """(B, L, D): stream 0's numbers for the first `patches` rows, stream 1's for the registers."""
    patch_B1D, register_B1D = numbers_B2D[:, :1], numbers_B2D[:, 1:]
    return torch.cat([patch_B1D.expand(-1, patches, -1), register_B1D.expand(-1, length - patches, -1)], dim=1)


class TwoStreamBlock(AnyBlock):
    """One attention and one MLP over [patches, registers]; each stream has its own adaLN-zero numbers.

    `modulation` maps SiLU(time embedding) to 2 x 6 x D: for patches, then registers, the order is
    gate_attention, gate_mlp, shift_attention, scale_attention, shift_mlp, scale_mlp.
    """

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 12 * width)
        self.attention = Attention(width, head_dim)
        self.mlp = SwiGLU(width)

    def modulate(self, silu_temb_BD: Tensor) -> Tensor:
        """-> (B, 6, 2, D): depends on time alone, so that a sampler computes it once for all its steps."""
        return self.modulation(silu_temb_BD).unflatten(-1, (2, 6, -1)).transpose(1, 2).contiguous()

    def forward(
        self, groups: Sequence[Tensor], patches: int, modulation_B62D: Tensor, masks: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """Groups of samples (B, L, D), each with its mask: as many patches in every sample, registers as there are."""
        gate_a, gate_m, shift_a, scale_a, shift_m, scale_m = modulation_B62D.to(groups[0].dtype).unbind(1)

        def modulate(x_BLD: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
            scale, shift = (per_row(numbers, patches, x_BLD.shape[1]) for numbers in (1 + scale, shift))
            return torch.addcmul(shift, layer_norm(x_BLD), scale)

        def add(x_BLD: Tensor, y_BLD: Tensor, gate: Tensor) -> Tensor:
            return torch.addcmul(x_BLD, y_BLD.to(x_BLD.dtype), per_row(gate, patches, x_BLD.shape[1]))

        changes = self.attention.together([modulate(x, scale_a, shift_a) for x in groups], masks)
        groups = [add(x, y, gate_a) for x, y in zip(groups, changes, strict=True)]
        changes = apart(self.mlp(together([modulate(x, scale_m, shift_m) for x in groups])), groups)
        return [add(x, y, gate_m) for x, y in zip(groups, changes, strict=True)]


def compile_blocks(model: nn.Module) -> None:
    """torch.compile every block of a model, in place: the first call of each shape takes a while, later ones less."""
    for block in model.modules():
        if isinstance(block, AnyBlock):
            block.compile()


class TimeEmbedding(nn.Module):
    """t in [0, 1] -> sinusoids of 256 dimensions, cosines first -> Linear, SiLU, Linear -> (B, D)."""

    DIM = 256

    def __init__(self, width: int, max_timestep: float) -> None:
        super().__init__()
        self.max_timestep = max_timestep
        self.input = nn.Linear(self.DIM, width)
        self.output = nn.Linear(width, width)

    def sinusoids(self, t_B: Tensor) -> Tensor:
        half = self.DIM // 2
        exponent = torch.arange(half, dtype=torch.float32, device=t_B.device) / half
        frequency = (1000 / self.max_timestep) * torch.exp(-math.log(self.DIM) * exponent)
        angle = t_B.float()[:, None] * frequency
        return torch.cat([angle.cos(), angle.sin()], dim=-1)

    def forward(self, t_B: Tensor) -> Tensor:
        return self.output(F.silu(self.input(self.sinusoids(t_B).to(self.input.weight.dtype))))


def init_linear(module: nn.Module, depth: int) -> None:
    """Normal weights with std 1/sqrt(fan_in); what a block adds to the residual, smaller by 1/sqrt(2 depth)."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear):
            shrink = 1 / math.sqrt(2 * depth) if name.endswith(("attention.out", "cross.out", "mlp.down")) else 1.0
            nn.init.normal_(layer.weight, std=shrink / math.sqrt(layer.in_features))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def zero_linear(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
