"""Batches whose content depends on the seed and the step alone: any run can stop and go on at any step.

    step, rank --positions--> sample positions --order(seed, epoch)--> pictures --random_crop(seed, position)--> Batch

The position of a sample is its place in the endless stream of samples. Epoch = position // pictures. No state is kept,
so neither the number of workers nor the step at which a run starts can change a batch, and the batches of all ranks of
one step, put together, are the batch of a run with one rank.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from openflextok.data.base import Example, ImageSource
from openflextok.data.transforms import check_scale, random_crop
from openflextok.pixels import ImageError, to_float

logger = logging.getLogger(__name__)
END_OF_STEPS = 2**62
TRIES = 16  # pictures tried for one place in a batch
FEW = 4  # corrupt pictures in one batch that never stop a run
ORDER, CROP, SPARE = 0, 1, 2  # streams of random numbers


class DataError(RuntimeError):
    """Data with which training makes no sense; the message says what was found and what to do."""


@dataclass(frozen=True)
class Batch:
    """The pictures of one step on one rank (B = batch size / ranks)."""

    step: int
    pixels_BHWC: torch.Tensor
    """uint8 RGB."""
    labels: tuple[str | None, ...]
    captions: tuple[str | None, ...]
    keys: tuple[str, ...]
    """Names of the pictures within the source."""
    corrupt: tuple[str, ...]
    """One line for each picture that could not be read and was replaced by another."""

    @property
    def images_BCHW(self) -> torch.Tensor:
        """float32 in [-1, 1], on the device of the pixels."""
        return to_float(self.pixels_BHWC)

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """What an objective's modules take: the images."""
        return {"images": self.images_BCHW}

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its pixels on a device."""
        return replace(self, pixels_BHWC=self.pixels_BHWC.to(device, non_blocking=True))


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, length: int) -> np.ndarray:
    """The order of `length` pictures in an epoch: a permutation that depends on the arguments alone."""
    permutation = np.random.default_rng([seed, ORDER, epoch]).permutation(length)
    permutation.setflags(write=False)
    return permutation


def positions(step: int, batch_size: int, rank: int = 0, world: int = 1) -> range:
    """Where in the stream of samples the samples of one step and rank lie."""
    share = batch_size // world
    start = step * batch_size + rank * share
    return range(start, start + share)


def batches(
    source: ImageSource,
    *,
    batch_size: int,
    image_size: tuple[int, int],
    seed: int = 0,
    start_step: int = 0,
    rank: int = 0,
    world: int = 1,
    crop_scale: tuple[float, float] = (0.8, 1.0),
    flip: bool = True,
    workers: int = 0,
) -> Iterator[Batch]:
    """Endless random-crop batches from `start_step` on.

    batch_size: pictures per step over all ranks. image_size: (height, width) in pixels.
    workers: processes that decode ahead; 0 decodes in this one. The batches are the same for any number.
    Raises ValueError for impossible arguments, and DataError when most of a batch cannot be read.
    """
    if world < 1 or not 0 <= rank < world:
        raise ValueError(f"rank {rank} of {world} is impossible: 0 <= rank < world")
    if batch_size < 1 or batch_size % world:
        raise ValueError(
            f"batch size {batch_size} cannot be shared by {world} processes: it must be a multiple of them"
        )
    if min(image_size) < 1 or start_step < 0 or workers < 0 or seed < 0:
        have = f"image size {image_size}, start step {start_step}, workers {workers}, seed {seed}"
        raise ValueError(f"{have}: sizes must be 1 or more, the others 0 or more")
    if len(source) == 0:
        raise ValueError("the source has no pictures; check the data")
    if batch_size > len(source) and rank == 0:
        logger.warning("%d pictures for batches of %d: each batch shows some more than once", len(source), batch_size)
    check_scale(crop_scale)
    steps = _Steps(source, batch_size, image_size, seed, rank, world, crop_scale, flip)
    return _stream(steps, start_step, workers)


def _stream(steps: _Steps, start_step: int, workers: int) -> Iterator[Batch]:
    numbers = range(start_step, END_OF_STEPS)
    ready = (steps[step] for step in numbers) if workers == 0 else iter(_loader(steps, numbers, workers))
    try:
        for found in ready:
            if isinstance(found, DataError):
                raise found
            yield found
    finally:
        del ready  # ends the workers now, even while somebody keeps the traceback


def _loader(steps: _Steps, numbers: range, workers: int) -> DataLoader:
    own = torch.Generator()  # else the loader would draw from the global generator
    return DataLoader(
        steps,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=2,
        generator=own,
        worker_init_fn=_outlive_sigterm,
    )


def _outlive_sigterm(worker: int) -> None:
    """A SIGTERM to the whole process group is for the trainer, which ends its workers after it has saved."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@dataclass(frozen=True)
class _Steps(Dataset):
    """Number s of this map-style dataset is the batch of step s, or the reason why there is none."""

    source: ImageSource
    batch_size: int
    image_size: tuple[int, int]
    seed: int
    rank: int
    world: int
    crop_scale: tuple[float, float]
    flip: bool

    def __getitem__(self, step: int) -> Batch | DataError:
        places = positions(step, self.batch_size, self.rank, self.world)
        corrupt: list[str] = []
        bad_places = 0
        examples: list[Example] = []
        crops: list[Image.Image] = []
        for position in places:
            example, errors = self._read(position)
            corrupt += errors
            bad_places += bool(errors)
            if example is None or bad_places > max(FEW, len(places) / 2):
                return _too_corrupt(step, bad_places, len(examples) + 1, corrupt)
            rng = np.random.default_rng([self.seed, CROP, position])
            examples.append(example)
            crops.append(random_crop(example.image, self.image_size, self.crop_scale, self.flip, rng))
        return Batch(
            step,
            torch.from_numpy(np.stack([np.asarray(crop) for crop in crops])),
            tuple(example.label for example in examples),
            tuple(example.caption for example in examples),
            tuple(example.key for example in examples),
            tuple(corrupt),
        )

    def _read(self, position: int) -> tuple[Example | None, list[str]]:
        """The picture of a position, or of the first readable spare, and what was wrong with those before it."""
        length = len(self.source)
        epoch, place = divmod(position, length)
        spares = np.random.default_rng([self.seed, SPARE, position])
        index = int(order(self.seed, epoch, length)[place])
        errors: list[str] = []
        for _ in range(TRIES):
            try:
                return self.source.read(index), errors
            except ImageError as error:
                errors.append(str(error))
                index = int(spares.integers(length))
        return None, errors


def _too_corrupt(step: int, bad: int, tried: int, corrupt: list[str]) -> DataError:
    return DataError(
        f"step {step}: {bad} of the first {tried} pictures of the batch cannot be read, so training stops. "
        f"First: {corrupt[0]}. See all of them with `openflextok data check`"
    )
