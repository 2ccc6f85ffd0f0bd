"""Frechet distance between two sets of features, each taken as a Gaussian.

    features (N,D) -> mean (D,), covariance (D,D) -> |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2)

Name the network beside the number ("MobileNet Frechet distance"): only the Inception network of M. Heusel et al.,
arXiv 1706.08500, gives FID. Name N too: small sets are biased upwards.

Shapes: N samples, D features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from openflextok.evaluate.statistics import Moments


@dataclass(frozen=True)
class Gaussian:
    """The mean and the unbiased covariance of `count` feature vectors, float64."""

    mean_D: Tensor
    covariance_DD: Tensor
    count: int


def fit_gaussian(batches: Iterable[Tensor]) -> Gaussian:
    """The Gaussian of features in batches (N,D); ValueError for fewer than two vectors or non-finite values."""
    found = map(Moments.of, batches)
    first = next(found, None)
    if first is None:
        raise ValueError("cannot fit a Gaussian to 0 feature vectors: need at least 2")
    return gaussian_of(reduce(Moments.merge, found, first))


def gaussian_of(moments: Moments) -> Gaussian:
    """The Gaussian of merged moments."""
    return Gaussian(moments.mean_D, moments.covariance_DD, moments.count)


def symmetric_sqrt(matrix_DD: Tensor) -> Tensor:
    """The square root of a symmetric positive semi-definite matrix; eigenvalues below 0 (rounding) count as 0."""
    values_D, vectors_DD = torch.linalg.eigh(matrix_DD)
    return (vectors_DD * values_D.clamp(min=0).sqrt()) @ vectors_DD.T


class DistanceTo:
    """The squared Frechet distance of Gaussians to one of them, whose root is taken once."""

    def __init__(self, real: Gaussian) -> None:
        self.real, self.root_DD = real, symmetric_sqrt(real.covariance_DD)

    def __call__(self, made: Gaussian) -> float:
        """>= 0 but for rounding."""
        real = self.real
        if real.mean_D.shape != made.mean_D.shape:
            sizes = f"{real.mean_D.shape[0]} features with {made.mean_D.shape[0]}"
            raise ValueError(f"cannot compare {sizes}: use one network for both")
        product_DD = self.root_DD @ made.covariance_DD @ self.root_DD
        overlap = torch.linalg.eigvalsh((product_DD + product_DD.T) / 2).clamp(min=0).sqrt().sum()
        apart = (real.mean_D - made.mean_D).square().sum()
        return float(apart + real.covariance_DD.trace() + made.covariance_DD.trace() - 2 * overlap)


def gaussian_distance(a: Gaussian, b: Gaussian) -> float:
    """The squared Frechet distance of two Gaussians, >= 0 but for rounding."""
    return DistanceTo(a)(b)


def frechet_distance(features_a_ND: Tensor, features_b_ND: Tensor) -> float:
    """The squared Frechet distance of two feature sets (N,D) and (M,D), in float64; N and M >= 2."""
    return gaussian_distance(fit_gaussian([features_a_ND]), fit_gaussian([features_b_ND]))
