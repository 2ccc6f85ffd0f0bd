"""Bisection against looking at every length, complexities against closed forms, rank correlation against its definition."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from openflextok.evaluate.adaptive import (
    gradient_energy,
    ranks,
    rises,
    shortest_lengths,
    shortest_of_curve,
    spearman,
    spearman_interval,
    webp_bytes,
)


def at(curve_BN: Tensor):
    def distances(length_B: Tensor) -> Tensor:
        assert bool(((length_B >= 0) & (length_B <= curve_BN.shape[1])).all())
        found_B = curve_BN[torch.arange(len(length_B)), length_B - 1]
        return torch.where(length_B > 0, found_B, torch.nan)

    return distances


@pytest.mark.parametrize("most", [1, 2, 7, 8, 64])
def test_on_falling_curves_bisection_is_the_first_length_that_is_near(most: int) -> None:
    curve_BN = torch.rand(50, most, generator=torch.Generator().manual_seed(most)).sort(dim=1, descending=True).values
    for target in (-0.1, 0.2, 0.5, 0.9, 1.1):
        by_hand = [next((n + 1 for n in range(most) if row[n] <= target), most + 1) for row in curve_BN.tolist()]
        assert shortest_of_curve(curve_BN, target).tolist() == by_hand
        assert shortest_lengths(at(curve_BN), target, 50, most).tolist() == by_hand


def test_bisection_asks_for_few_lengths() -> None:
    asked: list[int] = []
    curve_BN = torch.linspace(1, 0, 64).expand(3, -1)

    def counting(length_B: Tensor) -> Tensor:
        asked.append(len(length_B))
        return at(curve_BN)(length_B)

    shortest_lengths(counting, 0.3, 3, 64)
    assert len(asked) <= 1 + 6


def test_rises() -> None:
    curve_BN = torch.tensor([[4.0, 3.0, 3.5, 1.0], [4.0, 4.0, 5.0, 6.0]])
    assert rises(curve_BN).tolist() == pytest.approx([1 / 3, 2 / 3])  # equal is no rise
    assert rises(curve_BN[:, :1]).tolist() == [0, 0]


def test_gradient_energy_of_a_ramp() -> None:
    """Steps of 0.1 across and 0.3 down everywhere."""
    ramp = 0.1 * torch.arange(4.0)[None, :] + 0.3 * torch.arange(3.0)[:, None]
    torch.testing.assert_close(gradient_energy(ramp.expand(1, 3, 3, 4)), torch.tensor([0.1**2 + 0.3**2]))


def test_noise_takes_more_bytes_than_a_ramp_and_that_more_than_a_plain_field() -> None:
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ramp = torch.linspace(-1, 1, 64).expand(3, 64, 64)
    noise_bytes, ramp_bytes, plain_bytes = webp_bytes(torch.stack([noise, ramp, torch.zeros(3, 64, 64)])).tolist()
    assert 3 * 64 * 64 * 0.98 < noise_bytes < 3 * 64 * 64 * 1.05  # noise cannot be packed
    assert plain_bytes < ramp_bytes < 1000


def test_ranks_share_ties() -> None:
    assert ranks(torch.tensor([[5, 1, 5, 2], [7, 7, 7, 7]])).tolist() == [[3.5, 1, 3.5, 2], [2.5] * 4]


def test_spearman_is_the_formula_of_rank_differences() -> None:
    for order in itertools.permutations(range(5)):
        a, b = torch.arange(5), torch.tensor(order)
        expected = 1 - 6 * int((a - b).square().sum()) / (5 * 24)
        assert spearman(a, b).item() == pytest.approx(expected)
    assert spearman(torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 10, 100, 1000])).item() == pytest.approx(1)
    assert math.isnan(spearman(torch.ones(3), torch.arange(3)).item())
    # with ties: Pearson's correlation of the shared ranks 1.5, 1.5, 3, 4 and 1, 2, 3.5, 3.5
    expected = torch.corrcoef(torch.tensor([[1.5, 1.5, 3, 4], [1, 2, 3.5, 3.5]]))[0, 1].item()
    assert spearman(torch.tensor([2, 2, 5, 9]), torch.tensor([0, 1, 7, 7])).item() == pytest.approx(expected)


def test_the_interval_has_the_width_that_theory_gives() -> None:
    """For a normal pair of correlation r, Fisher's z of Spearman's coefficient has variance near (1 + r^2 / 2) / (n - 3)."""
    stream = torch.Generator().manual_seed(0)
    a = torch.randn(200, generator=stream)
    b = 0.6 * a + 0.8 * torch.randn(200, generator=stream)
    r = spearman(a, b).item()
    low, high = spearman_interval(a, b)
    half = 1.96 * math.sqrt((1 + r**2 / 2) / 197)
    assert low == pytest.approx(math.tanh(math.atanh(r) - half), abs=0.03)
    assert high == pytest.approx(math.tanh(math.atanh(r) + half), abs=0.03)
    assert spearman_interval(a, b) == (low, high)
