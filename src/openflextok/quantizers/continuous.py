"""No quantization: continuous tokens, as those of Semanticist (arXiv 2503.08685).

Shape suffixes: B batch, N tokens, D dimensions.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from openflextok.config import ContinuousConfig
from openflextok.interfaces import Quantizer
from openflextok.types import Quantized


class Continuous(Quantizer):
    """Slots scaled to unit mean square; there are no ids, and no number of bits holds a token."""

    def __init__(self, config: ContinuousConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook_size = 0
        self.bits_per_token = math.inf

    def forward(self, z_BND: Tensor) -> Quantized:
        with torch.autocast(z_BND.device.type, enabled=False):
            return Quantized(F.rms_norm(z_BND.float(), z_BND.shape[-1:]), None)

    def lookup(self, ids_BN: Tensor) -> Tensor:
        raise ValueError("the tokens of this tokenizer are continuous: there are no ids to look up; give `Tokens`")
