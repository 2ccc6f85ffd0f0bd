"""How colours move between originals and rebuilt images, with a sign: rebuilt minus original.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from torch import Tensor


def channel_shift(original_BCHW: Tensor, rebuilt_BCHW: Tensor) -> Tensor:
    """Mean difference of each channel, in 8-bit steps: (B,3,H,W) in [-1,1], twice -> (B,3)."""
    return (rebuilt_BCHW.double() - original_BCHW.double()).mean((2, 3)) * 127.5


def saturation(images_BCHW: Tensor) -> Tensor:
    """Mean of (max - min) / max over the pixels, as in HSV, black counting as 0: (B,3,H,W) in [-1,1] -> (B,) in [0,1]."""
    levels_BCHW = (images_BCHW.double() + 1) / 2
    most_BHW, least_BHW = levels_BCHW.amax(1), levels_BCHW.amin(1)
    return ((most_BHW - least_BHW) / most_BHW.clamp(min=1 / 510)).mean((1, 2))


def saturation_shift(original_BCHW: Tensor, rebuilt_BCHW: Tensor) -> Tensor:
    """Difference of mean saturation: (B,)."""
    return saturation(rebuilt_BCHW) - saturation(original_BCHW)
