"""Mean and covariance of features that come in batches.

    batches (N,D) -> Moments -> merge -> Moments

Sums of squares are kept about the mean (T. Chan et al., 1983), in float64, so that nothing is lost far from zero.

Shapes: N samples, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """How many vectors there were, their mean, and the sum of the squares of what they are away from it; float64."""

    count: int
    mean_D: Tensor
    squares_DD: Tensor

    @classmethod
    def of(cls, features_ND: Tensor) -> Self:
        """The moments of one batch, which may be empty; ValueError unless it is finite (N,D)."""
        x_ND = features_ND.detach().double()
        if x_ND.ndim != 2 or not bool(x_ND.isfinite().all()):
            raise ValueError(f"cannot fit features of shape {tuple(x_ND.shape)}: need finite (N,D)")
        mean_D = x_ND.mean(0) if len(x_ND) else x_ND.new_zeros(x_ND.shape[1])
        away_ND = x_ND - mean_D
        return cls(len(x_ND), mean_D, away_ND.T @ away_ND)

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets together."""
        if self.mean_D.shape != other.mean_D.shape:
            sizes = f"{self.mean_D.shape[0]} features with {other.mean_D.shape[0]}"
            raise ValueError(f"cannot merge {sizes}: use one network for both")
        count = self.count + other.count
        if not count:
            return self
        apart_D = other.mean_D - self.mean_D
        mean_D = self.mean_D + apart_D * (other.count / count)
        between_DD = apart_D.outer(apart_D) * (self.count * other.count / count)
        return Moments(count, mean_D, self.squares_DD + other.squares_DD + between_DD)

    @property
    def covariance_DD(self) -> Tensor:
        """Unbiased; ValueError for fewer than two vectors."""
        if self.count < 2:
            raise ValueError(f"cannot fit a Gaussian to {self.count} feature vectors: need at least 2")
        return self.squares_DD / (self.count - 1)
