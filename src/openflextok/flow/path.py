"""The straight path x_t = t * eps + (1 - t) * x0, t = 1 noise, t = 0 data; its velocity is eps - x0.

Shape suffixes: B batch, C channels, H x W latents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from openflextok.config import LogitNormalConfig, ModeConfig, UniformConfig
from openflextok.types import Draws


@dataclass(frozen=True)
class PathSample:
    """A point on the path and the velocity that a network should predict there."""

    x_t_BCHW: Tensor
    t_B: Tensor
    velocity_BCHW: Tensor


def sample_path(x0_BCHW: Tensor, noise_BCHW: Tensor, t_B: Tensor) -> PathSample:
    """Mix data and noise at times t in [0, 1]; the target is d x_t / d t = eps - x0."""
    t = t_B.view(-1, 1, 1, 1)
    return PathSample(t * noise_BCHW + (1 - t) * x0_BCHW, t_B, noise_BCHW - x0_BCHW)


class Uniform:
    """t uniform in [0, 1)."""

    def __init__(self, config: UniformConfig) -> None:
        self.config = config

    def __call__(self, draws: Draws) -> Tensor:
        return draws.uniform()


class LogitNormal:
    """t = sigmoid(mean + std * normal): most of the training in the middle of the path."""

    def __init__(self, config: LogitNormalConfig) -> None:
        self.config = config

    def __call__(self, draws: Draws) -> Tensor:
        return torch.sigmoid(self.config.mean + self.config.std * draws.normal())


class Mode:
    """Mode sampling of Stable Diffusion 3 (arXiv 2403.03206, eq. 20): t = 1 - u - s (cos^2(pi u / 2) - 1 + u)."""

    def __init__(self, config: ModeConfig) -> None:
        self.config = config

    def __call__(self, draws: Draws) -> Tensor:
        return self.warp(draws.uniform())

    def warp(self, u_B: Tensor) -> Tensor:
        return 1 - u_B - self.config.scale * (torch.cos(math.pi / 2 * u_B).square() - 1 + u_B)


SAMPLERS = {UniformConfig: Uniform, LogitNormalConfig: LogitNormal, ModeConfig: Mode}
