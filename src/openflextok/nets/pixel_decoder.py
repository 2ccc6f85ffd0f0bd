"""The pixel decoder: a ViT that rebuilds all latents in one pass (TiTok, arXiv 2406.07550).

Shape suffixes: B batch, P patches, N tokens, L = P + N, D width, C channels, H x W latents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok.config import PixelDecoderConfig
from openflextok.interfaces import Decoder
from openflextok.nets.absence import FORMS, Shown, each_share, form_of, key_counts
from openflextok.nets.attention import layer_norm
from openflextok.nets.checkpointing import run_block
from openflextok.nets.patches import PatchQueries, unpatchify
from openflextok.nets.transformer import Block, init_linear
from openflextok.types import Draws, Losses, Tokens

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "l2": F.mse_loss}


class PixelDecoder(Decoder):
    """Queries at each place and tokens through one transformer; what stands at the places is the image.

    tokens -> Linear + 1D positions -> absent ones: mask token, or removed -> registers --+
    one learned query + 2D positions, for each patch ------------------------------ [queries, registers]
                                                    -> blocks -> queries -> norm -> Linear -> latents
    """

    options = ("absence",)

    def __init__(self, config: PixelDecoderConfig) -> None:
        super().__init__()
        c = self.config = config
        self.num_tokens = c.num_tokens
        self.tokens = nn.Linear(c.token_dim, c.width)
        self.token_positions = nn.Parameter(torch.empty(c.num_tokens, c.width))
        self.mask_token = nn.Parameter(torch.empty(c.width), requires_grad=FORMS[c.absence].uses_mask_token)
        self.patches = PatchQueries(c.patch_size, c.width, c.grid, c.positions, c.interpolate_positions)
        self.blocks = nn.ModuleList(Block(c.width, c.head_dim) for _ in range(c.depth))
        self.head = nn.Linear(c.width, c.channels * c.patch_size**2)
        self.checkpoint_blocks = False
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init_linear(self, self.config.depth)
        for parameter in (self.token_positions, self.mask_token):
            nn.init.trunc_normal_(parameter)

    def embed_tokens(self, values_BND: Tensor) -> Tensor:
        """Token values (B, n, token_dim) -> registers (B, n, D), with their 1D positions."""
        n = values_BND.shape[1]
        return self.tokens(values_BND.to(self.tokens.weight.dtype)) + self.token_positions[:n]

    def rebuild(self, registers_BND: Tensor, grid: tuple[int, int], mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Registers -> latents (B, C, H, W), and the early patch features."""
        x_BPD = self.patches(len(registers_BND), grid).to(registers_BND.dtype)
        P, features_BPD = x_BPD.shape[1], x_BPD
        x_BLD = torch.cat([x_BPD, registers_BND], dim=1)
        for depth, block in enumerate(self.blocks, start=1):
            x_BLD = run_block(block, x_BLD, mask, checkpoint=self.checkpoint_blocks)
            if depth == self.config.feature_block:
                features_BPD = x_BLD[:, :P]
        return unpatchify(self.head(layer_norm(x_BLD[:, :P])), self.config.patch_size, grid), features_BPD

    def losses(self, tokens: Tokens, latents_BCHW: Tensor, draws: Draws) -> Losses:
        """The distance of the rebuilt latents; they are handed on for terms on images."""
        registers_BND, grid = self.embed_tokens(tokens.values_BND), self.patches.grid(latents_BCHW)

        def run(shown: Shown) -> tuple[Tensor, Tensor]:
            return self.rebuild(shown.registers_BND, grid, key_counts(shown.counts_BN, grid[0] * grid[1]))

        form = FORMS[self.config.absence]
        shares = form.shares(registers_BND, tokens.keep_BN, self.mask_token, self.num_tokens)
        rebuilt_BCHW, features_BPD = each_share(shares, run)
        distance = DISTANCES[self.config.loss](rebuilt_BCHW.float(), latents_BCHW)
        return Losses({self.config.loss: distance}, features_BPD=features_BPD, rebuilt_BCHW=rebuilt_BCHW)

    def decode(self, tokens: Tokens, *, noise_BCHW: Tensor, absence: str | None = None, **unknown: Any) -> Tensor:
        """One pass; the noise gives the shape alone."""
        if unknown:
            raise TypeError(f"unknown decode options {sorted(unknown)}: a pixel decoder takes absence alone")
        grid = self.patches.grid(noise_BCHW)
        registers_BND = self.embed_tokens(tokens.values_BND)
        result_BCHW = torch.empty_like(noise_BCHW)
        form = form_of(absence or self.config.absence)
        for shown in form.groups(registers_BND, tokens.keep_BN, self.mask_token, self.num_tokens):
            mask = key_counts(shown.counts_BN, grid[0] * grid[1])
            rebuilt_BCHW, _ = self.rebuild(shown.registers_BND, grid, mask)
            result_BCHW[shown.rows] = rebuilt_BCHW.to(result_BCHW.dtype)
        return result_BCHW
