"""Terms on rebuilt images, for whatever rebuilds them in one pass: perceptual distance, and the opinion of a critic.

Shape suffixes: B batch, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from openflextok.convert.lpips import load_lpips
from openflextok.nets.patchgan import PatchGAN, critic_loss, generator_loss
from openflextok.types import Draws


class Weights(Protocol):
    """Settings with these entries."""

    @property
    def perceptual(self) -> str: ...
    @property
    def perceptual_weight(self) -> float: ...
    @property
    def adversarial_weight(self) -> float: ...
    @property
    def adversarial_start(self) -> int: ...


class Hidden:
    """Holds a critic without registering it, so that another phase's weights stay out of this one's optimizer."""

    def __init__(self, module: PatchGAN) -> None:
        self.module = module


class ImageLosses(nn.Module):
    """LPIPS, and after `adversarial_start` the hinge loss of a critic that learns in a phase of its own."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = weights
        self.perceptual = None if weights.perceptual == "none" else load_lpips(weights.perceptual)
        self.critic = Hidden(PatchGAN()) if weights.adversarial_weight > 0 else None

    def forward(self, rebuilt_BCHW: Tensor, images_BCHW: Tensor, step: int) -> dict[str, Tensor]:
        """Both in [-1, 1] -> weighted terms."""
        terms: dict[str, Tensor] = {}
        if self.perceptual is not None:
            distance_B = self.perceptual(rebuilt_BCHW, images_BCHW)
            terms["perceptual"] = self.weights.perceptual_weight * distance_B.float().mean()
        if self.critic is not None and step >= self.weights.adversarial_start:
            fooled = generator_loss(self.critic.module(rebuilt_BCHW).float())
            terms["adversarial"] = self.weights.adversarial_weight * fooled
        return terms


class CriticStep(nn.Module):
    """The critic's hinge loss on real images and on what `rebuild` makes of them, without a gradient there."""

    def __init__(self, critic: PatchGAN, rebuild: Callable[[Tensor, Draws], Tensor]) -> None:
        super().__init__()
        self.critic, self.rebuild = critic, rebuild

    def forward(self, images_BCHW: Tensor, draws: Draws, step: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        with torch.no_grad():
            rebuilt_BCHW = self.rebuild(images_BCHW, draws).float()
        return {"critic": critic_loss(self.critic(images_BCHW).float(), self.critic(rebuilt_BCHW).float())}, {}

    def end_step(self, applied: bool) -> None:
        if applied:
            self.critic.end_step()
