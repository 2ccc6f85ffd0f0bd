"""From what was measured of each image to figures: means with intervals, distances of sets, tokens.

Shapes: B images, L lengths, S decode seeds, N tokens, D features, V codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openflextok.evaluate.bootstrap import mean_interval
from openflextok.evaluate.metric_table import PAIRS, SETS
from openflextok.evaluate.metrics import code_usage
from openflextok.evaluate.parts import Parts
from openflextok.evaluate.rate import order0_bits
from openflextok.evaluate.results import Figure, Network


@dataclass(frozen=True)
class Arm:
    """One kind of images compared with the real ones."""

    prefix: str
    """Before the names of its figures; empty for the subject itself."""
    lengths: tuple[int | None, ...]
    bytes: tuple[float | None, ...]
    """Of an image at each length."""
    paired: bool
    """Image i is real image i rebuilt."""


def pair_figures(parts: Parts, arm: Arm, metric: str, network: Network | None) -> list[Figure]:
    """Means over images at each length, with bootstrap intervals and the spread over seeds."""
    found = []
    for name in PAIRS[metric].figures:
        values_LSB = parts.values(arm.prefix + name)
        for values_SB, length, size in zip(values_LSB, arm.lengths, arm.bytes, strict=True):
            low, high = mean_interval(values_SB.mean(0))
            value, spread = mean_and_spread(values_SB.mean(1))
            images = values_SB.shape[1]
            found.append(Figure(arm.prefix + name, value, images, low, high, spread, length, size, network))
    return found


def set_figures(parts: Parts, arm: Arm, metrics: Sequence[str], network: Network) -> list[Figure]:
    """Distances of the arm's images from the real ones at each length, with their spread over seeds."""
    real_ND = parts.real_features(f"real/{network.name}")
    name, found = f"{arm.prefix}made/{network.name}", []
    seeds = parts.seeds(name)
    for metric in metrics:
        if not SETS[metric].reads(network):
            continue
        compare = SETS[metric].against(real_ND, arm.paired)
        for place, (length, size) in enumerate(zip(arm.lengths, arm.bytes, strict=True)):
            made = [parts.made_features(name, place, seed) for seed in range(seeds)]
            rows = torch.tensor([compare(made_MD) for made_MD in made], dtype=torch.float64)
            for figure, values_S in zip(SETS[metric].figures, rows.T, strict=True):
                value, spread = mean_and_spread(values_S)
                images = len(made[0])
                found.append(Figure(arm.prefix + figure, value, images, None, None, spread, length, size, network))
    return found


def mean_and_spread(values_S: Tensor) -> tuple[float, float | None]:
    """The mean over seeds, and their standard deviation (unbiased); none for one seed."""
    spread = values_S.double().std().item() if len(values_S) > 1 else None
    return values_S.double().mean().item(), spread


def seconds_figures(parts: Parts, name: str, arm: Arm) -> list[Figure]:
    """Median seconds of an image at each length."""
    rows = zip(parts.values(name), arm.lengths, arm.bytes, strict=True)
    return [Figure(name, x_SB.median().item(), x_SB.shape[1], length=n, bytes=size) for x_SB, n, size in rows]


def code_figures(ids_RN: Tensor, codebook_size: int, lengths: Sequence[int]) -> list[Figure]:
    """Codes used and perplexity, of all kept tokens at each length, and of each token alone (`length` is its number)."""
    found, count = [], len(ids_RN)
    for length in lengths:
        usage = code_usage(ids_RN[:, :length], codebook_size)
        found.append(Figure("codes_used", round(usage.share * codebook_size), count, length=length))
        found.append(Figure("perplexity", usage.perplexity, count, length=length))
    for place in range(max(lengths)):
        usage = code_usage(ids_RN[:, place], codebook_size)
        found.append(Figure("token_codes_used", round(usage.share * codebook_size), count, length=place + 1))
        found.append(Figure("token_perplexity", usage.perplexity, count, length=place + 1))
    return found


def bits_figures(
    ids_RN: Tensor, codebook_size: int, lengths: Sequence[int], scores: Mapping[str, Tensor], scorer: Network | None
) -> list[Figure]:
    """Bits of an image at each length: raw, order 0, and under each model of `scores` (name -> bits (R,N)), of `scorer`."""
    order0_N, count, found = order0_bits(ids_RN, codebook_size), len(ids_RN), []
    for length in lengths:
        found.append(Figure("bits_raw", length * math.log2(codebook_size), count, length=length))
        found.append(Figure("bits_order0", order0_N[:length].sum().item(), count, length=length))
        for name, bits_RN in scores.items():
            bits_R = bits_RN[:, :length].double().sum(1)
            low, high = mean_interval(bits_R)
            found.append(Figure(name, bits_R.mean().item(), count, low, high, length=length, network=scorer))
    return found
