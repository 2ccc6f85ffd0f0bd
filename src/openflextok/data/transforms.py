"""From a picture of any size to one of the wanted size: the middle of it, or a random part of it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from openflextok.pixels import center_crop, cover_box

__all__ = ["center_crop", "check_scale", "random_crop"]


def random_crop(
    image: Image.Image,
    size: tuple[int, int],
    scale: tuple[float, float] = (0.8, 1.0),
    flip: bool = True,
    rng: np.random.Generator | int = 0,
) -> Image.Image:
    """A random part of a picture at `size` = (height, width), resized once (bicubic), with no change of its aspect.

    scale: the range of the side of the part, as a share of the largest that fits; above 0, at most 1.
    flip: mirror half of the pictures. rng: a numpy Generator (four numbers are drawn from it) or a seed.
    """
    check_scale(scale)
    generator = np.random.default_rng(rng)
    share, x, y, mirror = generator.random(4)
    share = scale[0] + (scale[1] - scale[0]) * share
    left, top, right, bottom = cover_box(image.size, size, 0.0, 0.0)
    width, height = (right - left) * share, (bottom - top) * share
    left, top = x * (image.width - width), y * (image.height - height)
    box = (left, top, min(left + width, image.width), min(top + height, image.height))
    part = image.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box)
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip and mirror < 0.5 else part


def check_scale(scale: tuple[float, float]) -> None:
    """Raises ValueError unless 0 < smallest <= largest <= 1."""
    if not 0.0 < scale[0] <= scale[1] <= 1.0:
        raise ValueError(f"crop scale {scale} cannot be used: it needs 0 < smallest <= largest <= 1")
