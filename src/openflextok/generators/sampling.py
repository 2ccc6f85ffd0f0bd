"""From logits to the next row: guidance scales, filters, and the draw.

Shape suffixes: B batch, V rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

Scale = float | Sequence[float]


@dataclass(frozen=True)
class Filter:
    """Which rows may come next; applied in this order, each on what the one before left."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest row."""
    top_k: int | None = None
    """Only the k likeliest."""
    top_p: float | None = None
    """Only the likeliest, up to and with the one that brings their sum to p."""
    min_p: float | None = None
    """Only those with at least this share of the likeliest one's probability."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature {self.temperature} cannot be used: give a number >= 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} cannot be used: give 1 or more")
        for name, value in (("top_p", self.top_p), ("min_p", self.min_p)):
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} {value} cannot be used: it needs 0 < {name} <= 1")

    def probabilities(self, logits_BV: Tensor) -> Tensor:
        """(B, V) float64, each row sums to 1."""
        if self.temperature == 0:
            return torch.zeros_like(logits_BV, dtype=torch.float64).scatter_(1, logits_BV.argmax(1, keepdim=True), 1)
        probs_BV = (logits_BV.double() / self.temperature).softmax(dim=-1)
        if self.top_k is not None and self.top_k < probs_BV.shape[1]:
            least_B1 = probs_BV.topk(self.top_k).values[:, -1:]
            probs_BV = _renormalise(probs_BV.where(probs_BV >= least_B1, 0))
        if self.top_p is not None and self.top_p < 1:
            ordered_BV, place_BV = probs_BV.sort(dim=-1, descending=True)
            before_BV = ordered_BV.cumsum(-1) - ordered_BV
            kept_BV = ordered_BV.where(before_BV < self.top_p, 0)
            probs_BV = _renormalise(torch.zeros_like(probs_BV).scatter_(1, place_BV, kept_BV))
        if self.min_p is not None:
            probs_BV = _renormalise(probs_BV.where(probs_BV >= self.min_p * probs_BV.amax(-1, keepdim=True), 0))
        return probs_BV


def _renormalise(probs_BV: Tensor) -> Tensor:
    return probs_BV / probs_BV.sum(-1, keepdim=True)


def draw(probs_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """Rows (B,) by the inverse of the cumulative distribution at numbers in [0, 1)."""
    cumulative_BV = probs_BV.cumsum(-1)
    target_B1 = uniform_B.double()[:, None] * cumulative_BV[:, -1:]
    return torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0].clamp(max=probs_BV.shape[1] - 1)


def scales(guidance: Scale, length: int) -> list[float]:
    """A guidance scale per token: one number for all, or one each."""
    given: Any = [guidance] * length if isinstance(guidance, Real) else guidance
    numbers = [float(number) for number in given]
    if len(numbers) != length:
        raise ValueError(f"got {len(numbers)} guidance scales for {length} tokens: give one number, or one per token")
    for number in numbers:
        if not math.isfinite(number) or number < 0:
            raise ValueError(f"guidance {number} cannot be used: give finite scales >= 0 (1 is no guidance)")
    return numbers


def ramp(first: float, last: float, length: int) -> list[float]:
    """Guidance scales that change evenly from the first token to the last."""
    return [first + (last - first) * i / max(1, length - 1) for i in range(length)]
