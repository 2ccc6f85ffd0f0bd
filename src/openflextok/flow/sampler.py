"""Solvers of dx/dt = v(x, t) from noise (t = 1) to data (t = 0), on a uniform grid.

The velocity is asked for by grid index, so that whatever depends on t alone is computed once for the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from openflextok.types import whole

Velocity = Callable[[Tensor, int], Tensor]  # (x, index into times) -> velocity, same shape as x


PRESETS = {"fast": 8, "balanced": 25, "best": 50}  # what each is worth: docs/log.md


def count_steps(steps: int | str) -> int:
    """A number of solver steps, or the name of a preset."""
    count = PRESETS.get(steps) if isinstance(steps, str) else whole(steps)
    if count is None or not 1 <= count <= 1000:
        raise ValueError(
            f"cannot solve with {steps!r} steps: give a whole number with 1 <= steps <= 1000, or {', '.join(PRESETS)}"
        )
    return count


def time_grid(steps: int) -> Tensor:
    """(steps,) times 1, 1 - 1/steps, ..., 1/steps; float32."""
    return torch.arange(steps, 0, -1, dtype=torch.float32) / steps


class Solver(Protocol):
    def __call__(self, velocity: Velocity, noise: Tensor, steps: int) -> Tensor: ...


@dataclass(frozen=True)
class Euler:
    """x <- x - v / steps: one network call a step."""

    def __call__(self, velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
        x = noise
        for i in range(steps):
            x = x - velocity(x, i) / steps
        return x


@dataclass(frozen=True)
class Heun:
    """Second order: the mean slope of both ends of a step, two calls; the last step, which ends at t = 0, is Euler's."""

    def __call__(self, velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
        x = noise
        for i in range(steps - 1):
            start = velocity(x, i)
            end = velocity(x - start / steps, i + 1)
            x = x - (start + end) / (2 * steps)
        return x - velocity(x, steps - 1) / steps


SOLVERS: dict[str, Solver] = {"euler": Euler(), "heun": Heun()}
