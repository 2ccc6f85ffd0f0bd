"""How much of one set lies inside another: precision, recall, density, coverage.

    precision   share of made images that lie in the ball of some real one      (T. Kynkaanniemi et al., arXiv 1904.06991)
    recall      share of real images that lie in the ball of some made one
    density     balls of real images that a made one lies in, over k: may exceed 1  (M. Naeem et al., arXiv 2002.09797)
    coverage    share of real balls with a made image in them

The ball of an image reaches to its k-th nearest neighbour of its own set, itself not counted.

Shapes: N real, M made, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

AT_ONCE = 1024  # rows of a table of distances
FIDELITY_K, DENSITY_K = 3, 5  # of the papers' code


@dataclass(frozen=True)
class Neighbours:
    """All four in [0, 1] but density, which may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def radii(features_ND: Tensor, k: int) -> Tensor:
    """(N,) distance of each vector to its k-th nearest other one; ValueError for fewer than k + 1 vectors."""
    if len(features_ND) <= k:
        raise ValueError(f"{len(features_ND)} images have no {k}-th neighbours: give {k + 1} or more")
    found = []
    for first in range(0, len(features_ND), AT_ONCE):
        distance_AN = distances(features_ND[first : first + AT_ONCE], features_ND)
        itself = torch.arange(len(distance_AN))
        distance_AN[itself, first + itself] = torch.inf
        found.append(distance_AN.kthvalue(k, dim=1).values)
    return torch.cat(found)


def distances(a_AD: Tensor, b_BD: Tensor) -> Tensor:
    """(A, B) Euclidean distances, float64, without the cancellation of the expanded square."""
    return torch.cdist(a_AD.double(), b_BD.double(), compute_mode="donot_use_mm_for_euclid_dist")


def neighbours(real_ND: Tensor, made_MD: Tensor) -> Neighbours:
    """The four figures; ValueError for sets of fewer than 6."""
    near_N, near_M = radii(real_ND, FIDELITY_K), radii(made_MD, FIDELITY_K)
    wide_N = radii(real_ND, DENSITY_K)
    precise = balls = 0.0
    recalled_N = torch.zeros(len(real_ND), dtype=torch.bool)
    covered_N = torch.zeros(len(real_ND), dtype=torch.bool)
    for first in range(0, len(made_MD), AT_ONCE):
        distance_AN = distances(made_MD[first : first + AT_ONCE], real_ND)
        precise += float((distance_AN <= near_N).any(1).sum())
        recalled_N |= (distance_AN <= near_M[first : first + AT_ONCE, None]).any(0)
        inside_AN = distance_AN <= wide_N
        balls += float(inside_AN.sum())
        covered_N |= inside_AN.any(0)
    count = len(made_MD)
    return Neighbours(
        precision=precise / count,
        recall=recalled_N.double().mean().item(),
        density=balls / (DENSITY_K * count),
        coverage=covered_N.double().mean().item(),
    )
