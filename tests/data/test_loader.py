"""Batches depend on the seed and the step alone."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openflextok.data.loader import Batch, DataError, batches, order, positions
from openflextok.data.transforms import random_crop

sys.path.insert(0, str(Path(__file__).parent))
from pictures import Numbered, noise


def same(a: Batch, b: Batch) -> bool:
    words = ("step", "labels", "captions", "keys", "corrupt")
    return torch.equal(a.pixels_BHWC, b.pixels_BHWC) and all(getattr(a, word) == getattr(b, word) for word in words)


def take(source: Numbered, count: int, **options: object) -> list[Batch]:
    chosen = {"batch_size": 4, "image_size": (6, 8), **options}
    return list(islice(batches(source, **chosen), count))


@given(st.integers(0, 2**40), st.integers(0, 10**6), st.integers(1, 300))
def test_each_epoch_is_a_permutation(seed: int, epoch: int, length: int) -> None:
    found = order(seed, epoch, length)
    assert np.array_equal(np.sort(found), np.arange(length))
    assert np.array_equal(found, order.__wrapped__(seed, epoch, length))


def test_epochs_and_seeds_differ() -> None:
    assert not np.array_equal(order(0, 0, 100), order(0, 1, 100))
    assert not np.array_equal(order(0, 0, 100), order(1, 0, 100))


@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 6))
def test_ranks_together_are_the_whole_batch(step: int, world: int, share: int) -> None:
    batch_size = world * share
    parts = [position for rank in range(world) for position in positions(step, batch_size, rank, world)]
    assert parts == list(positions(step, batch_size)) == list(range(step * batch_size, (step + 1) * batch_size))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(0, 99),
    st.integers(0, 30),
    st.integers(1, 3),
    st.sets(st.integers(0, 40), max_size=3),
)
def test_world_and_start_do_not_matter(length: int, seed: int, start: int, world: int, broken: set[int]) -> None:
    source = Numbered(length + 6, frozenset(broken))
    options = {"batch_size": 6, "seed": seed}
    whole = take(source, start + 2, **options)[start:]
    later = take(source, 2, start_step=start, **options)
    assert all(same(a, b) for a, b in zip(whole, later, strict=True))
    ranks = [take(source, 1, start_step=start, rank=rank, world=world, **options)[0] for rank in range(world)]
    assert torch.equal(torch.cat([batch.pixels_BHWC for batch in ranks]), whole[0].pixels_BHWC)
    assert sum((batch.keys for batch in ranks), ()) == whole[0].keys
    assert sum((batch.corrupt for batch in ranks), ()) == whole[0].corrupt


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(0, 5))
def test_an_epoch_shows_every_picture_once(length: int, epoch: int) -> None:
    found = take(Numbered(length), (epoch + 1) * length, batch_size=1)
    assert sorted(batch.keys[0] for batch in found[epoch * length :]) == sorted(f"n{i}" for i in range(length))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_matter(workers: int) -> None:
    source = Numbered(11, frozenset({3}))
    before = torch.random.get_rng_state()
    alone, helped = take(source, 6, start_step=5), take(source, 6, start_step=5, workers=workers)
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))
    assert torch.equal(before, torch.random.get_rng_state())


def test_batch_content() -> None:
    batch = take(Numbered(50), 1)[0]
    assert batch.pixels_BHWC.shape == (4, 6, 8, 3) and batch.pixels_BHWC.dtype == torch.uint8
    numbers = [int(key[1:]) for key in batch.keys]
    assert batch.pixels_BHWC[:, 0, 0, 0].tolist() == numbers
    assert batch.labels == tuple(str(n % 3) for n in numbers)
    assert batch.captions == tuple(f"number {n}" for n in numbers)
    images = batch.to("cpu").images_BCHW
    assert images.shape == (4, 3, 6, 8) and images.dtype == torch.float32
    assert torch.allclose(images[:, 0, 0, 0], torch.tensor(numbers) / 127.5 - 1)


def test_corrupt_pictures_are_replaced_and_named() -> None:
    source = Numbered(20, frozenset({2, 9}))
    found = take(source, 5)
    assert all(len(batch.keys) == 4 and not {"n2", "n9"} & set(batch.keys) for batch in found)
    told = [line for batch in found for line in batch.corrupt]
    assert {line.split(":")[0] for line in told} == {"n2", "n9"} and "empty file (0 bytes)" in told[0]
    assert all(same(a, b) for a, b in zip(found, take(source, 5), strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_mostly_corrupt_data_stops(workers: int) -> None:
    with pytest.raises(DataError, match=r"step 0: .* cannot be read, so training stops. First: n\d+: empty") as caught:
        take(Numbered(100, frozenset(range(80))), 1, batch_size=16, workers=workers)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be read"):
        take(Numbered(3, frozenset(range(3))), 1, batch_size=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 5, "world": 2}, "cannot be shared by 2"),
        ({"batch_size": 0}, "batch size 0"),
        ({"rank": 2, "world": 2}, "rank 2 of 2"),
        ({"image_size": (0, 8)}, "image size"),
        ({"start_step": -1}, "start step -1"),
        ({"crop_scale": (0.0, 1.0)}, "crop scale"),
    ],
)
def test_impossible_arguments(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        batches(Numbered(4), **{"batch_size": 4, "image_size": (6, 8), **options})
    with pytest.raises(ValueError, match="no pictures"):
        batches(Numbered(0), batch_size=4, image_size=(6, 8))


def test_random_crop_is_a_part_of_the_picture() -> None:
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    ramp = Image.fromarray(np.stack([x * 4, y * 4, 0 * x], -1).astype(np.uint8))
    shares, mirrored = [], 0
    for seed in range(200):
        part = np.asarray(random_crop(ramp, (24, 24), (0.5, 1.0), True, seed), float)
        steps = np.diff(part[12, 4:20, 0]).mean(), np.diff(part[4:20, 12, 1]).mean()
        assert abs(abs(steps[0]) - steps[1]) < 0.5  # the aspect is kept
        shares.append(steps[1] / 4 * 24 / 48)
        mirrored += steps[0] < 0
    assert 0.48 < min(shares) < 0.55 and 0.95 < max(shares) < 1.02
    assert 70 < mirrored < 130


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 99),
)
def test_random_crop_always_fits(size: tuple[int, int], shape: tuple[int, int], seed: int) -> None:
    image = noise(size[1], size[0], seed)
    assert random_crop(image, shape, (0.01, 1.0), True, seed).size == (shape[1], shape[0])
    whole = random_crop(noise(8, 8), (8, 8), (1.0, 1.0), False, seed)
    assert np.array_equal(np.asarray(whole), np.asarray(noise(8, 8)))
