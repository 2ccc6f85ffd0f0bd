"""A small PatchGAN critic and the hinge losses, for the optional adversarial term of an autoencoder.

    images (B,3,H,W) -> strided 4x4 convolutions -> one score per patch (B,1,h,w), > 0 for "real"

The layout follows P. Isola et al., arXiv 1611.07004, without batch norm: spectral norm keeps the critic smooth and
each sample independent of its batch.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import ParametrizationList


def _conv(inputs: int, outputs: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel_size=4, stride=stride, padding=1), n_power_iterations=3)


class PatchGAN(nn.Module):
    """Patch scores: (B,3,H,W) in [-1,1] -> (B,1,h,w), h about H / 2^depth; H and W >= 2^(depth+2)."""

    def __init__(self, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(depth + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, width, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level in range(1, depth + 1):
            layers += [_conv(widths[level - 1], widths[level], 2 if level < depth else 1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, _conv(widths[-1], 1, 1))
        self.train()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.layers(images_BCHW)

    def train(self, mode: bool = True) -> PatchGAN:
        """As usual, but for the norms: they follow the weights in `end_step` alone, however many forwards a step has."""
        super().train(mode)
        for norm in self._norms():
            norm.eval()
        return self

    @torch.no_grad()
    def end_step(self) -> None:
        """Three power iterations of every spectral norm."""
        for norm in self._norms():
            norm.train()
            norm()
            norm.eval()

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, ParametrizationList)]


def critic_loss(real_B1HW: Tensor, fake_B1HW: Tensor) -> Tensor:
    """Hinge loss of the critic from its scores of real and (detached) rebuilt images: a scalar, 0 beyond +1 and -1."""
    return (F.relu(1 - real_B1HW).mean() + F.relu(1 + fake_B1HW).mean()) / 2


def generator_loss(fake_B1HW: Tensor) -> Tensor:
    """Hinge loss of the autoencoder from the critic's scores of its images: a scalar."""
    return -fake_B1HW.mean()
