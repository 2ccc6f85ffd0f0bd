"""The rectified-flow decoder: tokens condition a two-stream transformer that predicts velocities of latents.

Shape suffixes: B batch, P patches, N tokens, L = P + N, D width, C channels, H x W latents, S solver steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok.config import FlowDecoderConfig
from openflextok.flow.guidance import Guidance, resolve_guidance
from openflextok.flow.path import SAMPLERS, sample_path
from openflextok.flow.sampler import Euler, Solver, count_steps, time_grid
from openflextok.interfaces import Decoder
from openflextok.nets.absence import FORMS, Shown, each_share, form_of, key_counts
from openflextok.nets.attention import layer_norm
from openflextok.nets.checkpointing import run_block
from openflextok.nets.patches import PatchEmbedding, unpatchify
from openflextok.nets.transformer import TimeEmbedding, TwoStreamBlock, init_linear, zero_linear
from openflextok.types import Draws, Losses, Tokens


class FlowDecoder(Decoder):
    """Two-stream transformer with adaLN-zero over [noised patches, tokens] (FlexTok, arXiv 2502.13967).

    tokens -> Linear + 1D positions -> absent ones: mask token, or removed -> registers --+
    x_t -> patches + 2D positions ----------------------------------------------------- [patches, registers]
    t -> sinusoids -> MLP -> adaLN numbers per block and stream -------------------------> blocks -> velocity
    """

    draft: Mapping[str, Any] = {"steps": 10, "guidance": None}
    options = ("steps", "guidance", "solver", "absence")

    def __init__(self, config: FlowDecoderConfig) -> None:
        super().__init__()
        c = self.config = config
        self.num_tokens = c.num_tokens
        self.tokens = nn.Linear(c.token_dim, c.width)
        self.token_positions = nn.Parameter(torch.empty(c.num_tokens, c.width))
        self.mask_token = nn.Parameter(torch.empty(c.width), requires_grad=FORMS[c.absence].uses_mask_token)
        self.null_token = nn.Parameter(torch.empty(c.width), requires_grad=not c.zero_null)
        self.patches = PatchEmbedding(c.channels, c.patch_size, c.width, c.grid, c.positions, c.interpolate_positions)
        self.time = TimeEmbedding(c.width, c.max_timestep)
        self.blocks = nn.ModuleList(TwoStreamBlock(c.width, c.head_dim) for _ in range(c.depth))
        self.head_modulation = nn.Linear(c.width, 2 * c.width)
        self.head = nn.Linear(c.width, c.channels * c.patch_size**2)
        self.sample_times = SAMPLERS[type(c.timesteps)](c.timesteps)
        self.checkpoint_blocks = False
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init_linear(self, self.config.depth)
        for parameter in (self.token_positions, self.mask_token, self.null_token):
            nn.init.trunc_normal_(parameter)  # std 1: tokens must be told apart (docs/log.md)
        if self.config.zero_null:
            nn.init.zeros_(self.null_token)
        for block in self.blocks:
            assert isinstance(block, TwoStreamBlock)
            zero_linear(block.modulation)
        zero_linear(self.head_modulation)
        zero_linear(self.head)

    # -- conditions that do not depend on time ------------------------------------------------------------------

    def embed_tokens(self, values_BND: Tensor) -> Tensor:
        """Token values (B, n, token_dim) -> registers (B, n, D), with their 1D positions."""
        n = values_BND.shape[1]
        return self.tokens(values_BND.to(self.tokens.weight.dtype)) + self.token_positions[:n]

    def modulations(self, t_B: Tensor) -> tuple[list[Tensor], Tensor]:
        """All that depends on time: per block (B, 6, 2, D), and the head's (B, 2, D)."""
        silu_temb_BD = F.silu(self.time(t_B))
        head = self.head_modulation(silu_temb_BD).unflatten(-1, (2, -1))
        return [block.modulate(silu_temb_BD) for block in self.blocks], head  # pyright: ignore

    # -- the network --------------------------------------------------------------------------------------------

    def velocity(
        self,
        x_BPD: Tensor,
        registers_BND: Tensor,
        modulations: tuple[list[Tensor], Tensor],
        grid: tuple[int, int],
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embedded patches, registers and adaLN numbers -> velocity (B, C, H, W), and the early patch features."""
        return self.velocities(x_BPD, (registers_BND,), modulations, grid, (mask,))

    def velocities(
        self,
        x_BPD: Tensor,
        registers: Sequence[Tensor],
        modulations: tuple[list[Tensor], Tensor],
        grid: tuple[int, int],
        masks: Sequence[Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        """The same patches with G kinds of registers, (B, N, D) each -> velocities (G B, C, H, W), features likewise."""
        P = x_BPD.shape[1]
        groups = [torch.cat([x_BPD, registers_BND.to(x_BPD.dtype)], dim=1) for registers_BND in registers]
        features = groups
        blocks, head_B2D = modulations
        for depth, (block, modulation) in enumerate(zip(self.blocks, blocks, strict=True), start=1):
            groups = run_block(block, groups, P, modulation, masks, checkpoint=self.checkpoint_blocks)
            if depth == self.config.feature_block:
                features = groups
        features_BPD, x_BPD = (torch.cat([x_BLD[:, :P] for x_BLD in found]) for found in (features, groups))
        shift, scale = head_B2D.to(x_BPD.dtype).unbind(1)
        values_BPx = self.head(torch.addcmul(shift[:, None], layer_norm(x_BPD), 1 + scale[:, None]))
        return unpatchify(values_BPx, self.config.patch_size, grid), features_BPD

    # -- training -----------------------------------------------------------------------------------------------

    def losses(self, tokens: Tokens, latents_BCHW: Tensor, draws: Draws) -> Losses:
        """Mean squared error between predicted and true velocity at one random time per sample."""
        path = sample_path(latents_BCHW, draws.normal(*latents_BCHW.shape[1:]), self.sample_times(draws))
        null_B = draws.uniform() < self.config.null_probability
        registers_BND = self.embed_tokens(tokens.values_BND)
        x_BPD, grid = self.patches(path.x_t_BCHW), self.patches.grid(latents_BCHW)
        blocks, head_B2D = self.modulations(path.t_B)
        null_token = self.null_token.to(registers_BND.dtype)

        def run(shown: Shown) -> tuple[Tensor, Tensor]:
            return self.velocity(
                x_BPD[shown.rows],
                torch.where(null_B[shown.rows, None, None], null_token, shown.registers_BND),
                ([block[shown.rows] for block in blocks], head_B2D[shown.rows]),
                grid,
                key_counts(shown.counts_BN, grid[0] * grid[1]),
            )

        form = FORMS[self.config.absence]
        shares = form.shares(registers_BND, tokens.keep_BN, self.mask_token, self.num_tokens)
        velocity_BCHW, features_BPD = each_share(shares, run)
        loss = F.mse_loss(velocity_BCHW.float(), path.velocity_BCHW)
        return Losses({"flow": loss}, features_BPD=features_BPD)

    # -- generation ---------------------------------------------------------------------------------------------

    def decode(
        self,
        tokens: Tokens,
        *,
        noise_BCHW: Tensor,
        steps: int | str = "balanced",
        guidance: Guidance | float | str | None = "default",
        solver: Solver = Euler(),  # noqa: B008  (a frozen value)
        absence: str | None = None,
        **unknown: Any,
    ) -> Tensor:
        """Solve the flow from noise; conditional and unconditional velocities come from one batch.

        steps: 1..1000, or "fast", "balanced", "best". The unconditional registers are all equal and stay so: one of
        them stands for all, and the linear layers see the rows of both halves at once.
        """
        if unknown:
            raise TypeError(f"unknown decode options {sorted(unknown)}: give {', '.join(self.options)}")
        guide = resolve_guidance(guidance, self.config.guidance)
        form = form_of(absence or self.config.absence)
        grid = self.patches.grid(noise_BCHW)
        steps = count_steps(steps)
        times_S = time_grid(steps).to(noise_BCHW.device)
        blocks_S, head_S = self.modulations(times_S)
        modulations = [([block[i : i + 1] for block in blocks_S], head_S[i : i + 1]) for i in range(steps)]
        registers_BND = self.embed_tokens(tokens.values_BND)
        result_BCHW = torch.empty_like(noise_BCHW)
        for shown in form.groups(registers_BND, tokens.keep_BN, self.mask_token, self.num_tokens):
            result_BCHW[shown.rows] = self._solve(shown, noise_BCHW[shown.rows], modulations, grid, guide, solver)
        return result_BCHW

    def _solve(
        self,
        shown: Shown,
        noise_BCHW: Tensor,
        modulations: Sequence[tuple[list[Tensor], Tensor]],
        grid: tuple[int, int],
        guide: Guidance | None,
        solver: Solver,
    ) -> Tensor:
        registers_BND, counts_BN, patches = shown.registers_BND, shown.counts_BN, grid[0] * grid[1]
        weights = key_counts(counts_BN, patches)

        def conditional(x_BCHW: Tensor, i: int) -> Tensor:
            velocity_BCHW, _ = self.velocity(self._embed(x_BCHW), registers_BND, modulations[i], grid, weights)
            return velocity_BCHW.to(x_BCHW.dtype)

        if guide is None:
            return solver(conditional, noise_BCHW, len(modulations))
        combine = guide.start()
        null_BND = self.null_token.to(registers_BND.dtype).expand(len(registers_BND), 1, -1)
        null_weights = key_counts(torch.full((1, 1), float(shown.null_count), device=noise_BCHW.device), patches)

        def guided(x_BCHW: Tensor, i: int) -> Tensor:
            velocity_BCHW, _ = self.velocities(
                self._embed(x_BCHW), (registers_BND, null_BND), modulations[i], grid, (weights, null_weights)
            )
            return combine(*velocity_BCHW.to(x_BCHW.dtype).chunk(2))

        return solver(guided, noise_BCHW, len(modulations))

    def _embed(self, x_BCHW: Tensor) -> Tensor:
        return self.patches(x_BCHW.to(self.head.weight.dtype))
