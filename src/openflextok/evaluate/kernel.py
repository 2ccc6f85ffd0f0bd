"""Kernel distance of two feature sets: the unbiased squared MMD under (x.y / D + 1)^3 (M. Binkowski et al., 1801.01401).

Unlike the Frechet distance its mean does not depend on how many images there are; single values may be negative.

Shapes: N and M samples, D features.
"""

from __future__ import annotations

from torch import Tensor

AT_ONCE = 2048  # rows of a table of kernel values


def kernel_distance(real_ND: Tensor, made_MD: Tensor, paired: bool = False) -> float:
    """The estimate over all pairs, float64; ValueError for fewer than 2 vectors in a set.

    paired: vector i of both comes from the same image, so that the pairs (i, i) are left out between the sets too
    (A. Gretton et al., 2012, eq. 4): equal sets then give 0, not less.
    """
    n, m = len(real_ND), len(made_MD)
    if min(n, m) < 2 or (paired and n != m):
        raise ValueError(f"cannot compare {n} with {m} feature vectors: need 2 or more, as many in both for pairs")
    within_real = (_sum(real_ND, real_ND) - _diagonal(real_ND, real_ND)) / (n * (n - 1))
    within_made = (_sum(made_MD, made_MD) - _diagonal(made_MD, made_MD)) / (m * (m - 1))
    if paired:
        between = (_sum(real_ND, made_MD) - _diagonal(real_ND, made_MD)) / (n * (n - 1))
    else:
        between = _sum(real_ND, made_MD) / (n * m)
    return within_real + within_made - 2 * between


def _cube(products: Tensor, features: int) -> Tensor:
    return (products / features + 1) ** 3


def _sum(a_ND: Tensor, b_MD: Tensor) -> float:
    """Of the kernel over all pairs."""
    b_DM = b_MD.double().T
    return sum(float(_cube(part.double() @ b_DM, a_ND.shape[1]).sum()) for part in a_ND.split(AT_ONCE))


def _diagonal(a_ND: Tensor, b_ND: Tensor) -> float:
    """Of the kernel over pairs (i, i)."""
    return float(_cube((a_ND.double() * b_ND.double()).sum(1), a_ND.shape[1]).sum())
