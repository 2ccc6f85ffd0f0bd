"""Binary quantizers: one bit per dimension, no codebook to look up (LFQ, arXiv 2310.05737; BSQ, arXiv 2406.07548).

    z -> bound -> sign (straight-through) -> values of one size; id = the bits, first dimension lowest

Shape suffixes: B batch, N tokens, D dimensions (bits).
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from openflextok.config import BSQConfig, LFQConfig
from openflextok.interfaces import Quantizer
from openflextok.types import Losses, Quantized

GROUP = 8  # bits whose joint codes count in the entropy of the mean


def entropy(logits: Tensor) -> Tensor:
    """Of coins that show heads with probability sigmoid(logits), nats; its gradient is finite everywhere."""
    return F.softplus(logits) - logits * torch.sigmoid(logits)


def joint(p_BNG: Tensor) -> Tensor:
    """Probabilities of G independent bits -> of their 2^G codes, (B, N, 2^G)."""
    codes = torch.ones_like(p_BNG[..., :1])
    for p in p_BNG.split(1, dim=-1):
        codes = torch.cat([codes * (1 - p), codes * p], dim=-1)
    return codes


def entropy_of_mean(p_BNK: Tensor) -> Tensor:
    """Of the mean over images, nats, averaged over tokens."""
    mean_NK = p_BNK.mean(0)
    return -(mean_NK * mean_NK.clamp(min=1e-12).log()).sum(-1).mean()


class Binary(Quantizer):
    """Signs of bounded slots; float32 throughout, also under autocast."""

    size: float  # absolute value of every dimension of a code
    bits_D: Tensor

    def __init__(self, config: LFQConfig | BSQConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook_size = config.codes
        self.bits_per_token = float(config.dim)
        self.register_buffer("bits_D", 2 ** torch.arange(config.dim, device="cpu"), persistent=False)

    @abstractmethod
    def bound(self, z_BND: Tensor) -> Tensor:
        """Slots as they are compared with codes."""

    def forward(self, z_BND: Tensor) -> Quantized:
        with torch.autocast(z_BND.device.type, enabled=False):
            bounded = self.bound(z_BND.float())
            positive = bounded.detach() > 0
            codes = torch.where(positive, self.size, -self.size)
            values = bounded + (codes - bounded).detach()
            return Quantized(values, (positive * self.bits_D).sum(-1), self.losses(bounded, codes))

    def losses(self, bounded_BND: Tensor, codes_BND: Tensor) -> Losses:
        """Commitment, and entropies of codes under a softmax of -distance^2 / temperature.

        A code is a product of bits, so the entropy of a slot is the sum over its bits. That of the mean is taken of the
        joint codes of groups of bits: bit by bit, bits that are copies of each other would count as spread. The mean is
        over the images of this forward pass, for each token by itself: over all tokens together, tokens that never
        change but differ from each other would count as spread, too (docs/log.md).
        """
        c, terms = self.config, {}
        if c.commitment_weight:
            terms["commitment"] = c.commitment_weight * F.mse_loss(bounded_BND, codes_BND)
        if c.entropy_weight:
            logits_BND = 4 * c.inverse_temperature * self.size * bounded_BND
            groups = torch.sigmoid(logits_BND).split(GROUP, dim=-1)
            spread = sum((entropy_of_mean(joint(group)) for group in groups), torch.zeros((), device=logits_BND.device))
            terms["entropy"] = c.entropy_weight * (entropy(logits_BND).sum(-1).mean() - spread)
        return Losses(terms)

    def lookup(self, ids_BN: Tensor) -> Tensor:
        """Ids in [0, 2^D) -> values (B, N, D), float32."""
        return torch.where(ids_BN[..., None] // self.bits_D % 2 == 1, self.size, -self.size)


class LFQ(Binary):
    """Codes are the corners of the cube of side 2."""

    def __init__(self, config: LFQConfig) -> None:
        super().__init__(config)
        self.size = 1.0

    def bound(self, z_BND: Tensor) -> Tensor:
        return z_BND


class BSQ(Binary):
    """Slots and codes lie on the unit sphere."""

    def __init__(self, config: BSQConfig) -> None:
        super().__init__(config)
        self.size = 1 / math.sqrt(config.dim)

    def bound(self, z_BND: Tensor) -> Tensor:
        return F.normalize(z_BND, dim=-1)
