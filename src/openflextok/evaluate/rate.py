"""What tokens cost: bits per image under codes that know more and more.

    raw        length x log2(codebook): no model
    order 0    an adaptive code for each position, told nothing in advance: it learns from the very stream it codes

The order-0 code mixes Dirichlet estimators, id i having probability (count_i + a) / (seen + a V): the code length of a
stream under each `a` has a closed form, and the mixture costs at most log2(number of estimators) bits more than the best
of them. It does not depend on the order of the images.

Shapes: R images, N tokens, V codes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 0.5, 1.0)  # values of `a`


def adaptive_bits(ids_R: Tensor, codebook_size: int) -> float:
    """Ideal length in bits of the whole stream of ids of one position; 0 for no ids."""
    counts = torch.unique(ids_R, return_counts=True)[1].double()
    a_A = torch.tensor(STRENGTHS, dtype=torch.float64)
    total_A = a_A * codebook_size
    seen_R = torch.arange(len(ids_R), dtype=torch.float64)
    # not as lgamma(a V + R) - lgamma(a V): nothing is left of that for large V
    nats_A = torch.log(total_A[:, None] + seen_R).sum(1)
    nats_A = nats_A - (torch.lgamma(counts + a_A[:, None]) - torch.lgamma(a_A)[:, None]).sum(1)
    return (math.log(len(STRENGTHS)) - torch.logsumexp(-nats_A, 0).item()) / math.log(2)


def order0_bits(ids_RN: Tensor, codebook_size: int) -> Tensor:
    """(N,) float64: bits per image that each position costs, the learning included."""
    columns = ids_RN.T
    return torch.tensor([adaptive_bits(column, codebook_size) / len(ids_RN) for column in columns], dtype=torch.float64)
