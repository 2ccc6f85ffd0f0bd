"""Intervals of means: percentile bootstrap over images (B. Efron, 1979).

Shapes: N images.
"""

from __future__ import annotations

import torch
from torch import Tensor

RESAMPLES, AT_ONCE = 2000, 2**22  # AT_ONCE: numbers drawn at a time


def mean_interval(values_N: Tensor, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Ends of the `level` interval of the mean of (N,) values; both the value itself for one."""
    count = len(values_N)
    stream = torch.Generator().manual_seed(seed)
    rows = max(1, AT_ONCE // count)
    means = []
    for first in range(0, RESAMPLES, rows):
        choice = torch.randint(count, (min(rows, RESAMPLES - first), count), generator=stream)
        means.append(values_N.double()[choice].mean(1))
    ends = torch.quantile(torch.cat(means), torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64))
    return ends[0].item(), ends[1].item()
