"""The images themselves as latents."""

from __future__ import annotations

from torch import Tensor

from openflextok.config import PixelsConfig
from openflextok.interfaces import LatentSpace


class Pixels(LatentSpace):
    """Latents (B, 3, H, W) are the images times `scale`."""

    channels = 3
    downsample = 1

    def __init__(self, config: PixelsConfig) -> None:
        super().__init__()
        self.config = config

    def encode(self, images_BCHW: Tensor, posterior: str | Tensor = "mean") -> Tensor:
        return images_BCHW * self.config.scale

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        return latents_BCHW / self.config.scale
