"""Frechet distance between two sets of features, each taken as a Gaussian.

    features (N,D) -> mean (D,), covariance (D,D) -> |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2)

Name the network beside the number ("MobileNet Frechet distance"): only the Inception network of M. Heusel et al.,
arXiv 1706.08500, gives FID. Name N too: small sets are biased upwards.

Shapes: N samples, D features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """The mean and the unbiased covariance of `count` feature vectors, float64."""

    mean_D: Tensor
    covariance_DD: Tensor
    count: int


def fit_gaussian(batches: Iterable[Tensor]) -> Gaussian:
    """The Gaussian of features in batches (N,D); ValueError for fewer than two vectors or non-finite values."""
    shift_D = total_D = products_DD = None
    count = 0
    for batch_ND in batches:
        x_ND = batch_ND.detach().double()
        if x_ND.ndim != 2 or not bool(x_ND.isfinite().all()):
            raise ValueError(f"cannot fit features of shape {tuple(x_ND.shape)}: need finite (N,D)")
        if shift_D is None or total_D is None or products_DD is None:
            shift_D = x_ND.mean(0) if len(x_ND) else x_ND.new_zeros(x_ND.shape[1])
            total_D, products_DD = torch.zeros_like(shift_D), x_ND.new_zeros(x_ND.shape[1], x_ND.shape[1])
        x_ND = x_ND - shift_D  # keeps the sums small, so that the subtraction below loses nothing
        total_D, products_DD, count = total_D + x_ND.sum(0), products_DD + x_ND.T @ x_ND, count + len(x_ND)
    if count < 2 or shift_D is None or total_D is None or products_DD is None:
        raise ValueError(f"cannot fit a Gaussian to {count} feature vectors: need at least 2")
    mean_D = total_D / count
    covariance_DD = (products_DD - count * mean_D.outer(mean_D)) / (count - 1)
    return Gaussian(mean_D + shift_D, covariance_DD, count)


def symmetric_sqrt(matrix_DD: Tensor) -> Tensor:
    """The square root of a symmetric positive semi-definite matrix; eigenvalues below 0 (rounding) count as 0."""
    values_D, vectors_DD = torch.linalg.eigh(matrix_DD)
    return (vectors_DD * values_D.clamp(min=0).sqrt()) @ vectors_DD.T


def gaussian_distance(a: Gaussian, b: Gaussian) -> float:
    """The squared Frechet distance of two Gaussians, >= 0 but for rounding."""
    if a.mean_D.shape != b.mean_D.shape:
        sizes = f"{a.mean_D.shape[0]} features with {b.mean_D.shape[0]}"
        raise ValueError(f"cannot compare {sizes}: use one network for both")
    root_DD = symmetric_sqrt(a.covariance_DD)
    product_DD = root_DD @ b.covariance_DD @ root_DD
    overlap = torch.linalg.eigvalsh((product_DD + product_DD.T) / 2).clamp(min=0).sqrt().sum()
    apart = (a.mean_D - b.mean_D).square().sum()
    return float(apart + a.covariance_DD.trace() + b.covariance_DD.trace() - 2 * overlap)


def frechet_distance(features_a_ND: Tensor, features_b_ND: Tensor) -> float:
    """The squared Frechet distance of two feature sets (N,D) and (M,D), in float64; N and M >= 2."""
    return gaussian_distance(fit_gaussian([features_a_ND]), fit_gaussian([features_b_ND]))
