"""Sources made of other sources: a weighted mix, and a cache of small decoded pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from openflextok.data.base import Example, ImageSource, Words
from openflextok.pixels import ImageError


class MixSource(ImageSource):
    """Several sources as one, each with a fixed share of the numbers.

    It is as long as it takes for every picture to come at least once; pictures of sources that are small for their
    weight come several times.
    """

    def __init__(self, sources: Sequence[ImageSource], weights: Sequence[float]) -> None:
        """weights: one positive number a source; only their ratios count."""
        if len(sources) != len(weights) or not sources:
            raise ValueError(f"cannot mix {len(sources)} sources with {len(weights)} weights: give one weight for each")
        if not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise ValueError(f"weights {list(weights)} cannot be used: each must be a positive number")
        total = float(sum(weights))
        self.sources = tuple(sources)
        self.weights = tuple(weight / total for weight in weights)
        whole = max(len(source) / weight for source, weight in zip(self.sources, self.weights, strict=True))
        counts = [
            max(len(source), round(weight * whole)) for source, weight in zip(self.sources, self.weights, strict=True)
        ]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def find(self, index: int) -> tuple[int, int]:
        """Which source number `index` belongs to, and its number there."""
        if not 0 <= index < len(self):
            raise IndexError(f"no picture {index}: there are {len(self)}")
        which = int(np.searchsorted(self._starts, index, side="right")) - 1
        return which, (index - int(self._starts[which])) % len(self.sources[which])

    def name(self, index: int) -> str:
        which, inner = self.find(index)
        return self.sources[which].name(inner)

    def words(self, index: int) -> Words:
        which, inner = self.find(index)
        return self.sources[which].words(inner)

    def picture(self, index: int) -> Path | bytes | Image.Image:
        which, inner = self.find(index)
        return self.sources[which].picture(inner)

    def read(self, index: int) -> Example:
        which, inner = self.find(index)
        return self.sources[which].read(inner)


class CachedSource(ImageSource):
    """Keeps each picture of another source in memory once it is decoded, with its short side reduced to `short_side`.

    For small sets that are read many times: random crops are then cut from the reduced picture. Call `fill` before
    worker processes start, and they share one copy.
    """

    def __init__(self, source: ImageSource, short_side: int) -> None:
        """short_side: pixels; smaller pictures are kept as they are."""
        if short_side < 1:
            raise ValueError(f"short side {short_side} cannot be used: it is a number of pixels, 1 or more")
        self.source, self.short_side = source, short_side
        self._kept: dict[int, np.ndarray | str] = {}

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def words(self, index: int) -> Words:
        return self.source.words(index)

    def picture(self, index: int) -> Image.Image:
        if index not in self._kept:
            self._kept[index] = self._decode(index)
        kept = self._kept[index]
        if isinstance(kept, str):
            raise ImageError(kept)
        return Image.fromarray(kept)

    def fill(self, threads: int = 4) -> CachedSource:
        """Decode everything now, with so many threads."""
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self._keep, range(len(self))))
        return self

    def megabytes(self) -> float:
        """Memory of the pictures kept so far, in 10^6 bytes."""
        return sum(kept.nbytes for kept in self._kept.values() if isinstance(kept, np.ndarray)) / 1e6

    def _keep(self, index: int) -> None:
        if index not in self._kept:
            self._kept[index] = self._decode(index)

    def _decode(self, index: int) -> np.ndarray | str:
        try:
            image = self.source.read(index).image
        except ImageError as error:
            return str(error)
        scale = self.short_side / min(image.size)
        if scale < 1:
            size = tuple(max(self.short_side, round(side * scale)) for side in image.size)
            image = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        return np.asarray(image)


def keep_in_memory(source: ImageSource, short_side: int) -> ImageSource:
    """A source with a cache of small decoded pictures; in a mix each part gets its own, so that repeats share it."""
    if isinstance(source, MixSource):
        return MixSource([keep_in_memory(part, short_side) for part in source.sources], source.weights)
    return CachedSource(source, short_side)
