"""Grouped quantization: a slot cut into parts, each quantized by itself (as in WeTok, arXiv 2508.05599).

    z -> cut into G groups -> a quantizer each -> values joined; id = the groups' ids as digits, the first one lowest

Shape suffixes: B batch, N tokens, D dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from openflextok.config import BSQConfig, FSQConfig, GroupedConfig, LFQConfig, VQConfig
from openflextok.interfaces import Quantizer
from openflextok.quantizers.binary import BSQ, LFQ
from openflextok.quantizers.fsq import FSQ
from openflextok.quantizers.vq import VQ
from openflextok.types import Losses, Quantized

INNER: dict[type, type[Quantizer]] = {FSQConfig: FSQ, LFQConfig: LFQ, BSQConfig: BSQ, VQConfig: VQ}


class Grouped(Quantizer):
    """G quantizers of one kind, each over its own share of the dimensions."""

    def __init__(self, config: GroupedConfig) -> None:
        super().__init__()
        self.config = config
        make = INNER[type(config.inner)]
        self.groups = nn.ModuleList(make(config.inner) for _ in range(config.groups))
        self.codebook_size = config.codes
        self.bits_per_token = math.log2(config.codes)

    @property
    def parts(self) -> list[Quantizer]:
        return [part for part in self.groups if isinstance(part, Quantizer)]

    def forward(self, z_BND: Tensor) -> Quantized:
        results = [part(z) for part, z in zip(self.parts, z_BND.chunk(self.config.groups, dim=-1), strict=True)]
        digits = torch.stack([result.ids_BN for result in results if result.ids_BN is not None], dim=-1)
        ids_BN = (digits * self.config.inner.codes ** torch.arange(len(results), device=digits.device)).sum(-1)
        names = results[0].losses.terms
        terms = {name: torch.stack([result.losses.terms[name] for result in results]).mean() for name in names}
        return Quantized(torch.cat([result.values_BND for result in results], dim=-1), ids_BN, Losses(terms))

    def lookup(self, ids_BN: Tensor) -> Tensor:
        codes = self.config.inner.codes
        values = [part.lookup(ids_BN // codes**place % codes) for place, part in enumerate(self.parts)]
        return torch.cat(values, dim=-1)

    def end_step(self, applied: bool) -> None:
        for part in self.parts:
            part.end_step(applied)
