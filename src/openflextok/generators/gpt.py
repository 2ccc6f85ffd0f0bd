"""The GPT: a decoder-only transformer over rows of a vocabulary.

Shape suffixes: B batch, L new positions, S positions so far, T text, D width, V rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openflextok.conditioning.base import Condition
from openflextok.config import GPTConfig
from openflextok.nets.causal import Cache, CausalBlock, KeysValues, rotary_table
from openflextok.nets.transformer import init_linear


class GPT(nn.Module):
    """Embeddings -> blocks -> RMSNorm -> head -> logits over the vocabulary, each for the row that comes next."""

    def __init__(self, config: GPTConfig, rows: int, cross: bool) -> None:
        super().__init__()
        c = self.config = config
        self.embedding = nn.Embedding(rows, c.width)
        self.blocks = nn.ModuleList(CausalBlock(c.width, c.head_dim, c.norm_eps, cross) for _ in range(c.depth))
        self.norm = nn.RMSNorm(c.width, c.norm_eps)
        self.head = nn.Linear(c.width, rows, bias=False)
        init_linear(self, c.depth)
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=0.02)

    def new_cache(self, batch: int, positions: int) -> Cache:
        """An empty cache for so many sequences and positions."""
        c, weight = self.config, self.embedding.weight
        shape = (c.depth, 2, batch, c.width // c.head_dim, positions, c.head_dim)
        table = rotary_table(0, positions, c.head_dim, c.rope_theta, weight.device)
        return Cache(weight.new_empty(shape), table)

    def contexts(self, condition: Condition) -> list[KeysValues | None]:
        """What each block needs of a text, projected once; nothing where there is no text."""
        if condition.context_BTD is None:
            return [None] * len(self.blocks)
        return [block.project(condition.context_BTD) for block in self.blocks]  # pyright: ignore

    def forward(
        self,
        x_BLD: Tensor,
        contexts: list[KeysValues | None],
        context_mask_B11T: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Embeddings of the new positions -> logits (B, L, V)."""
        start, L = (cache.length if cache else 0), x_BLD.shape[1]
        table = rotary_table(0, L, self.config.head_dim, self.config.rope_theta, x_BLD.device)
        if cache is not None:
            table = cache.table_2SE[:, start : start + L]
        mask_LS = None
        if L > 1:
            mask_LS = torch.ones(L, start + L, dtype=torch.bool, device=x_BLD.device).tril(start)
        for layer, block in enumerate(self.blocks):
            x_BLD = block(x_BLD, table, mask_LS, cache, layer, contexts[layer], context_mask_B11T)
        if cache is not None:
            cache.length = start + L
        return self.head(self.norm(x_BLD))
