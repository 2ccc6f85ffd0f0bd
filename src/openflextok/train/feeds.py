"""Feeds: where a run's batches come from, and the held-out examples that its previews show.

Shape suffixes: B batch, C channels, H x W pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Protocol, Self

import torch
from torch import Tensor

from openflextok.data.loader import batches
from openflextok.data.sources import ImageSource, keep_in_memory, open_source
from openflextok.train.preview import first_images
from openflextok.train.settings import DataConfig


class Examples(Protocol):
    """The examples of one step on one process."""

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """What the modules of an objective take, in order, each with one row per example."""
        ...

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the examples."""
        ...

    @property
    def corrupt(self) -> tuple[str, ...]:
        """One line for each example that could not be read and was replaced by another."""
        ...

    def to(self, device: torch.device | str) -> Self: ...


class Feed(ABC):
    """Batches that depend on the seed and the step alone."""

    @abstractmethod
    def batches(
        self, batch_size: int, seed: int, start_step: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[Examples]:
        """Endless batches from a step on; `batch_size` counts the examples of all processes."""


class ImageFeed(Feed):
    """Random crops of images, and held-out images to show."""

    def __init__(self, data: DataConfig, source: ImageSource, heldout: ImageSource | None = None) -> None:
        self.data = data
        self.source = keep_in_memory(source, round(max(data.image_size) / data.crop_scale[0])) if data.cache else source
        self.heldout = heldout or self.source

    @classmethod
    def open(cls, data: DataConfig) -> Self:
        """The feed that the settings describe in words."""
        return cls(data, open_source(data.source), open_source(data.heldout) if data.heldout else None)

    def batches(
        self, batch_size: int, seed: int, start_step: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[Examples]:
        return batches(
            self.source,
            batch_size=batch_size,
            image_size=self.data.image_size,
            seed=seed,
            start_step=start_step,
            rank=rank,
            world=world,
            crop_scale=self.data.crop_scale,
            flip=self.data.flip,
            workers=self.data.workers,
        )

    def first_crops(self, count: int, seed: int) -> Tensor:
        """The first training crops (B, 3, H, W) of a run, one an image at most: the same whatever its batch size."""
        stream = batches(
            self.source,
            batch_size=min(count, len(self.source)),
            image_size=self.data.image_size,
            seed=seed,
            crop_scale=self.data.crop_scale,
            flip=self.data.flip,
        )
        return next(stream).images_BCHW

    def shown(self, count: int) -> Tensor:
        """Held-out images (B, 3, H, W) in [-1, 1], centre-cropped."""
        return first_images(self.heldout, count, self.data.image_size)
