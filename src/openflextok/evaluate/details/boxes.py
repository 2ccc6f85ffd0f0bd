"""Boxes in pictures, and the octaves that their heights fall into."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Box:
    """In pixels, not rounded; right and bottom are where it ends."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def grown(self, pixels: float) -> Box:
        """Wider by so much on each side."""
        return Box(self.left - pixels, self.top - pixels, self.right + pixels, self.bottom + pixels)

    def scaled(self, x: float, y: float) -> Box:
        """The same box in a picture that is so many times as wide and as high."""
        return Box(self.left * x, self.top * y, self.right * x, self.bottom * y)

    def within(self, width: int, height: int) -> Box:
        """What of it lies in a picture."""
        return Box(
            max(0.0, self.left), max(0.0, self.top), min(float(width), self.right), min(float(height), self.bottom)
        )


def cut(picture: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """The part of a picture in a box, at size (width, height)."""
    inside = box.within(*picture.size)
    edges = (inside.left, inside.top, inside.right, inside.bottom)
    return picture.resize(size, Image.Resampling.BILINEAR, box=edges)


def octave(share: float) -> str:
    """The bucket of a height as a share of the picture's: "1/8" from 1/8 up to 1/4; "1/2" is the last.

    >>> octave(0.2)
    '1/8'
    """
    if not 0 < share <= 1:
        raise ValueError(f"a height of {share} pictures is impossible: 0 < share <= 1")
    return f"1/{2 ** max(1, math.ceil(-math.log2(share) - 1e-9))}"


def in_order(buckets: Iterable[str]) -> list[str]:
    """The buckets that occur, smallest heights first."""
    return sorted(set(buckets), key=lambda name: -int(name.partition("/")[2]))
