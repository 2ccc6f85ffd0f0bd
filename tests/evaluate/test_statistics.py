"""Moments of parts, in any order and number, are those of the whole."""

import pytest
import torch

from openflextok.evaluate.statistics import Moments


@pytest.fixture
def features():
    return torch.randn(100, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 50


def merged(parts):
    whole = Moments.of(torch.zeros(0, 5))
    for part in parts:
        whole = whole.merge(Moments.of(part))
    return whole


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batches_and_their_order_do_not_matter(features, batch):
    parts = features.split(batch)
    for order in (parts, parts[::-1]):
        found = merged(order)
        assert found.count == 100
        torch.testing.assert_close(found.mean_D, features.mean(0), rtol=1e-12, atol=0)
        torch.testing.assert_close(found.covariance_DD, torch.cov(features.T), rtol=1e-10, atol=1e-12)


def test_what_cannot_be_merged_is_refused(features):
    with pytest.raises(ValueError, match="one network"):
        Moments.of(features).merge(Moments.of(features[:, :3]))
    with pytest.raises(ValueError, match="at least 2"):
        Moments.of(features[:1]).covariance_DD  # noqa: B018
    with pytest.raises(ValueError, match="finite"):
        Moments.of(torch.full((2, 3), torch.nan))
