"""KID against loops over all pairs, torchmetrics, and what is known of its mean."""

import itertools
import statistics

import pytest
import torch

from openflextok.evaluate.kernel import kernel_distance


def k(x, y) -> float:
    return ((x @ y).item() / len(x) + 1) ** 3


@pytest.fixture
def sets():
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(9, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    return draw[0], draw[1] + 0.5


def test_it_is_the_mean_over_pairs_of_different_images(sets):
    a, b = sets
    within = [statistics.mean(k(x[i], x[j]) for i, j in itertools.permutations(range(9), 2)) for x in sets]
    between = statistics.mean(k(x, y) for x in a for y in b)
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * between, rel=1e-10)
    apart = statistics.mean(k(a[i], b[j]) for i, j in itertools.permutations(range(9), 2))
    assert kernel_distance(a, b, paired=True) == pytest.approx(sum(within) - 2 * apart, rel=1e-10)


def test_it_equals_torchmetrics(sets):
    kid = pytest.importorskip("torchmetrics.image.kid")
    assert kernel_distance(*sets) == pytest.approx(kid.poly_mmd(*sets).item(), rel=1e-6)


def test_rebuilding_nothing_wrong_costs_nothing(sets):
    assert kernel_distance(sets[0], sets[0], paired=True) == pytest.approx(0, abs=1e-12)


def test_its_mean_over_draws_of_one_distribution_is_zero():
    generator = torch.Generator().manual_seed(1)
    found = [kernel_distance(*torch.randn(2, 12, 3, generator=generator).unbind()) for _ in range(400)]
    error = statistics.stdev(found) / 400**0.5
    assert abs(statistics.mean(found)) < 3 * error
    assert min(found) < 0 < max(found)


def test_too_few_are_refused(sets):
    with pytest.raises(ValueError, match="1 with 9"):
        kernel_distance(sets[0][:1], sets[1])
    with pytest.raises(ValueError, match="as many in both"):
        kernel_distance(sets[0][:5], sets[1], paired=True)
