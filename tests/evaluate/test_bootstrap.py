"""Bootstrap intervals against the normal approximation, which they tend to."""

import pytest
import torch

from openflextok.evaluate.bootstrap import mean_interval


def test_it_tends_to_the_normal_interval():
    values = torch.rand(2000, generator=torch.Generator().manual_seed(0)) * 7 + 3
    error = values.std().item() / 2000**0.5
    low, high = mean_interval(values)
    assert low == pytest.approx(values.mean().item() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean().item() + 1.96 * error, abs=0.15 * error)


def test_it_is_reproducible_and_has_no_width_for_equal_values():
    values = torch.tensor([1.0, 5.0, 2.0])
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(torch.full((9,), 2.5)) == (2.5, 2.5)
    assert mean_interval(torch.tensor([4.0])) == (4.0, 4.0)


def test_it_covers_the_true_mean_about_as_often_as_it_says():
    stream = torch.Generator().manual_seed(3)
    hits = 0
    for _ in range(100):
        low, high = mean_interval(torch.randn(60, generator=stream))
        hits += low <= 0 <= high
    assert 88 <= hits <= 99
