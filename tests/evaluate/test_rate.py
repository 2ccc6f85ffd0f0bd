"""The order-0 code length against coding token by token, and against what must hold of any code."""

import math
from collections import Counter

import pytest
import torch

from openflextok.evaluate.rate import STRENGTHS, adaptive_bits, order0_bits


def one_by_one(ids: list[int], codes: int) -> float:
    """Bits of the mixture, each id coded after those before it."""
    shares = [1 / len(STRENGTHS)] * len(STRENGTHS)
    bits, counts = 0.0, Counter()
    for seen, i in enumerate(ids):
        each = [(counts[i] + a) / (seen + a * codes) for a in STRENGTHS]
        probability = sum(share * p for share, p in zip(shares, each, strict=True))
        shares = [share * p / probability for share, p in zip(shares, each, strict=True)]
        bits -= math.log2(probability)
        counts[i] += 1
    return bits


@pytest.mark.parametrize("ids", [[3], [0, 0, 0, 0], [0, 1, 2, 3, 4, 5, 6], [5, 2, 5, 5, 1, 2, 5, 5, 5]])
def test_it_is_what_a_coder_would_write(ids):
    assert adaptive_bits(torch.tensor(ids), 8) == pytest.approx(one_by_one(ids, 8), rel=1e-9)


def test_the_order_of_images_does_not_matter():
    ids = torch.randint(20, (50,), generator=torch.Generator().manual_seed(0))
    assert adaptive_bits(ids, 64) == pytest.approx(adaptive_bits(ids.flip(0), 64), rel=1e-12)


def test_lengths_are_those_of_a_code():
    """Over all streams of 3 ids of 4 codes, 2^-bits sums to 1: a decoder can tell them apart (Kraft)."""
    streams = torch.cartesian_prod(*[torch.arange(4)] * 3)
    assert sum(2 ** -adaptive_bits(stream, 4) for stream in streams) == pytest.approx(1, rel=1e-9)


def test_a_constant_position_costs_little_and_a_random_one_hardly_more_than_raw():
    stream = torch.Generator().manual_seed(0)
    ids = torch.stack([torch.full((300,), 17), torch.randint(64_000, (300,), generator=stream)], dim=1)
    constant, random = order0_bits(ids, 64_000).tolist()
    assert constant < 0.1
    assert random == pytest.approx(math.log2(64_000), abs=0.2)


def test_codebooks_of_sixty_bits_lose_nothing():
    ids = torch.tensor([2**59, 5, 2**40, 5])
    assert adaptive_bits(ids, 2**60) == pytest.approx(one_by_one(ids.tolist(), 2**60), rel=1e-9)
