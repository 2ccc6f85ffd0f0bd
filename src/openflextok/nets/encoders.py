"""Encoders: latents to slots.

Shape suffixes: B batch, P patches, N registers, L = P + N, D width, C channels, H x W latents.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openflextok.config import GridViTConfig, RegisterViTConfig
from openflextok.interfaces import Encoder
from openflextok.nets.attention import layer_norm
from openflextok.nets.checkpointing import run_block
from openflextok.nets.patches import PatchEmbedding, patchify
from openflextok.nets.transformer import Block, init_linear
from openflextok.types import Slots


def register_mask(patches: int, registers: int, device: torch.device) -> Tensor:
    """(L, L), True where row may look at column: patches see patches, register i sees all patches and registers <= i."""
    mask_LL = torch.ones(patches + registers, patches + registers, dtype=torch.bool, device=device).tril()
    mask_LL[:, :patches] = True
    return mask_LL


class RegisterViT(Encoder):
    """A ViT whose appended registers, causally ordered, become the slots (FlexTok, arXiv 2502.13967).

    latents -> patches + positions -> [patches, registers] -> blocks -> registers -> norm -> Linear -> slots
    """

    def __init__(self, config: RegisterViTConfig) -> None:
        super().__init__()
        c = self.config = config
        self.num_slots = c.num_slots
        self.patches = PatchEmbedding(c.channels, c.patch_size, c.width, c.grid, c.positions, c.interpolate_positions)
        self.registers = nn.Parameter(torch.empty(c.num_registers, c.width))
        self.blocks = nn.ModuleList(Block(c.width, c.head_dim) for _ in range(c.depth))
        self.head = nn.Linear(c.width, c.slot_dim)
        self.checkpoint_blocks = False
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Registers with std 1 and a random head: what starts alike, or at zero, stays alike for long (docs/log.md)."""
        nn.init.trunc_normal_(self.registers)
        init_linear(self, self.config.depth)

    def forward(self, latents_BCHW: Tensor) -> Slots:
        x_BPD = self.patches(latents_BCHW)
        B, P, _ = x_BPD.shape
        x_BLD = torch.cat([x_BPD, self.registers.to(x_BPD.dtype).expand(B, -1, -1)], dim=1)
        mask_LL = register_mask(P, self.num_slots, x_BLD.device) if self.config.causal else None
        for block in self.blocks:
            x_BLD = run_block(block, x_BLD, mask_LL, checkpoint=self.checkpoint_blocks)
        return Slots(self.head(layer_norm(x_BLD[:, P:])))


class GridViT(Encoder):
    """A ViT whose patches become the slots, row by row: 2D tokens, for comparison with ordered ones.

    latents -> patches + positions -> blocks -> norm -> squares of merge x merge patches -> Linear -> slots
    """

    def __init__(self, config: GridViTConfig) -> None:
        super().__init__()
        c = self.config = config
        self.num_slots = c.num_slots
        self.patches = PatchEmbedding(c.channels, c.patch_size, c.width, c.grid, c.positions, interpolate=False)
        self.blocks = nn.ModuleList(Block(c.width, c.head_dim) for _ in range(c.depth))
        self.head = nn.Linear(c.merge**2 * c.width, c.slot_dim)
        self.checkpoint_blocks = False
        init_linear(self, c.depth)

    def forward(self, latents_BCHW: Tensor) -> Slots:
        grid = self.patches.grid(latents_BCHW)
        if grid != self.config.grid:
            raise ValueError(f"a grid of {grid[0]}x{grid[1]} patches: a 2D tokenizer takes {self.config.grid} alone")
        x_BPD = self.patches(latents_BCHW)
        for block in self.blocks:
            x_BPD = run_block(block, x_BPD, checkpoint=self.checkpoint_blocks)
        x_BDhw = layer_norm(x_BPD).transpose(1, 2).unflatten(2, grid)
        return Slots(self.head(patchify(x_BDhw, self.config.merge)))
