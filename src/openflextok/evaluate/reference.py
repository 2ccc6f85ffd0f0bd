"""A reference set: the centre crops of a source, in order, as 8-bit pixels, and what a protocol says of them.

    source line -> open_source -> chosen pictures -> read -> centre crop -> uint8 (B, H, W, 3), a batch at a time

The crop is the one of the tokenizer (`pixels.center_crop`). Unreadable pictures are named, and stop nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

import openflextok
from openflextok.data.base import ImageSource, Words
from openflextok.data.builtin import BUILTIN_SETS
from openflextok.data.sources import open_source
from openflextok.evaluate.results import Protocol
from openflextok.pixels import ImageError, center_crop, to_uint8_tensor

CROP = "centre: the largest box of the aspect of the image size"
RESIZE_FILTER = "bicubic over the box (Pillow, antialiased)"
ROUNDING = "clamped to [-1, 1], half to even to 8 bits"
AT_ONCE = 64  # pictures read by a survey between two ticks


@dataclass(frozen=True)
class ReferenceBatch:
    """Consecutive pictures of a reference set; unreadable ones are missing."""

    places: tuple[int, ...]
    """Of the pictures, in the reference set: 0 <= place < len(reference)."""
    names: tuple[str, ...]
    words: tuple[Words, ...]
    pixels_BHWC: Tensor
    """uint8 RGB."""
    unreadable: tuple[str, ...]
    """One line for each picture of this stretch that cannot be read."""


@dataclass(frozen=True)
class Survey:
    """What a reading of the whole set found."""

    sha256: str
    """Over the 8-bit pixels (H, W, 3) of all readable crops, in order."""
    images: int
    """Readable pictures."""
    unreadable: tuple[str, ...]


class Reference:
    """The centre crops of a source at one size, or of `limit` pictures of it, evenly spaced (place * size // limit)."""

    def __init__(self, spec: str, image_size: tuple[int, int], limit: int = 0, source: ImageSource | None = None):
        """spec: a line for `open_source`; image_size: (height, width); limit: 0 for all; source: opened already.

        Raises ValueError for a source that is not understood, or an impossible size or limit.
        """
        if min(image_size) < 1 or limit < 0:
            raise ValueError(
                f"image size {image_size} and limit {limit} are impossible: give 1 or more, limit 0 for all"
            )
        self.spec, self.image_size = spec, image_size
        self.source = open_source(spec) if source is None else source
        count = len(self.source)
        self.some = 0 < limit < count
        self.indices = [place * count // limit for place in range(limit)] if self.some else range(count)

    def __len__(self) -> int:
        """Pictures chosen, the unreadable ones included."""
        return len(self.indices)

    @property
    def split(self) -> str:
        """The split of the source, and how pictures were chosen from it."""
        chosen = f", {len(self)} of {len(self.source)} evenly spaced" if self.some else ""
        return split_of(self.spec) + chosen

    def batches(self, batch: int, start: int = 0, end: int | None = None, threads: int = 2) -> Iterator[ReferenceBatch]:
        """Stretches of `batch` pictures from place `start` up to `end`, read by `threads` ahead of the caller.

        Stretches begin at multiples of `batch` from `start`; one with no readable picture has an empty tensor.
        """
        if batch < 1 or threads < 1:
            raise ValueError(f"batch {batch} and {threads} threads are impossible: give 1 or more")
        end = len(self) if end is None else min(end, len(self))
        stretches = [range(first, min(first + batch, end)) for first in range(start, end, batch)]
        with ThreadPoolExecutor(threads) as pool:
            waiting = None
            for stretch in stretches:
                following = pool.map(self._crop, stretch)
                if waiting is not None:
                    yield self._collect(*waiting)
                waiting = stretch, following
            if waiting is not None:
                yield self._collect(*waiting)

    def survey(self, tick: Callable[[int], None] = lambda pictures: None, threads: int = 2) -> Survey:
        """Read all of it once; `tick` hears of pictures as they are read. ValueError where none can be read."""
        digest, images, unreadable = hashlib.sha256(), 0, []
        for found in self.batches(AT_ONCE, threads=threads):
            digest.update(found.pixels_BHWC.numpy().tobytes())
            images += len(found.places)
            unreadable += found.unreadable
            tick(len(found.places) + len(found.unreadable))
        if not images:
            raise ValueError(f"{self.spec}: none of {len(self)} pictures can be read; the first: {unreadable[0]}")
        return Survey(digest.hexdigest(), images, tuple(unreadable))

    def protocol(self, task: Literal["reconstruct", "generate"], survey: Survey, images: int | None = None) -> Protocol:
        """The card of figures measured against this set; `images`: how many were measured, all of it if not given."""
        return Protocol(
            task,
            self.spec,
            self.split,
            survey.sha256,
            survey.images,
            survey.images if images is None else images,
            self.image_size,
            CROP,
            RESIZE_FILTER,
            ROUNDING,
            openflextok.__version__,
        )

    def _crop(self, place: int) -> Tensor | str:
        try:
            return to_uint8_tensor(center_crop(self.source.read(self.indices[place]).image, self.image_size))
        except ImageError as error:
            return str(error)

    def _collect(self, stretch: range, crops: Iterator[Tensor | str]) -> ReferenceBatch:
        found = list(zip(stretch, crops, strict=True))
        good = [(place, crop) for place, crop in found if isinstance(crop, Tensor)]
        numbers = [self.indices[place] for place, _ in good]
        return ReferenceBatch(
            tuple(place for place, _ in good),
            tuple(self.source.name(number) for number in numbers),
            tuple(self.source.words(number) for number in numbers),
            torch.stack([crop for _, crop in good]) if good else torch.empty(0, *self.image_size, 3, dtype=torch.uint8),
            tuple(crop for _, crop in found if isinstance(crop, str)),
        )


def split_of(spec: str) -> str:
    """The split that a source line names: after `#`, or the third part of `builtin:` and `hf:`.

    "all" where it names none, "mixed" for a mix.
    """
    if " + " in spec:
        return "mixed"
    scheme, _, rest = spec.partition(":")
    name, _, split = rest.partition(":")
    if scheme in ("builtin", "hf"):
        default = BUILTIN_SETS[name].default_split if name in BUILTIN_SETS else "all"
        return split or default
    if "#" not in spec or Path(spec).is_dir():
        return "all"
    return spec.rpartition("#")[2].removeprefix("split=") or "all"
