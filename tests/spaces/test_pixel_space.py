"""Pixels as latents."""

import torch

from openflextok.config import PixelsConfig
from openflextok.spaces.pixels import Pixels


def test_latents_are_scaled_pixels():
    space = Pixels(PixelsConfig(scale=2.0))
    images = torch.rand(2, 3, 4, 6) * 2 - 1
    assert torch.equal(space.encode(images), 2 * images)
    assert torch.equal(space.decode(space.encode(images)), images)
    assert (space.channels, space.downsample) == (3, 1) and not list(space.parameters())
