"""Frechet distances of sets whose mean and covariance are known exactly."""

import pytest
import torch
from torch import Tensor

from openflextok.evaluate.frechet import fit_gaussian, frechet_distance, gaussian_distance, symmetric_sqrt


def features(mean: list[float], factor: Tensor, count: int = 64, seed: int = 0) -> Tensor:
    """(N,D) float64 with exactly this mean and the covariance factor @ factor.T."""
    x = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    white = torch.linalg.qr(x - x.mean(0))[0] * (count - 1) ** 0.5
    return white @ factor.T.double() + torch.tensor(mean, dtype=torch.float64)


def test_diagonal_covariances_in_closed_form():
    a = features([0, 1, 2], torch.diag(torch.tensor([1.0, 2.0, 3.0])))
    b = features([1, 1, 0], torch.diag(torch.tensor([2.0, 2.0, 0.5])), count=50, seed=1)
    assert frechet_distance(a, b) == pytest.approx((1 + 0 + 4) + (1 + 0 + 2.5**2), rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_covariances_that_do_not_commute_in_closed_form():
    one, two = torch.tensor([[2.0, 0.0], [1.5, 0.5]]), torch.tensor([[0.7, -1.1], [0.0, 1.3]])
    product = (one @ one.T @ two @ two.T).double()
    overlap = (product.trace() + 2 * product.det().sqrt()).sqrt()  # tr sqrt(M) of a 2 x 2 matrix
    expected = (one.square().sum() + two.square().sum() - 2 * overlap).item()
    assert frechet_distance(features([0, 0], one), features([0, 0], two, seed=3)) == pytest.approx(expected, rel=1e-6)


def test_fewer_samples_than_features():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 40, generator=generator, dtype=torch.float64) for n in (9, 12))
    ca, cb = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (a, b))
    overlap = torch.linalg.svdvals(ca @ cb.T).sum()  # the same trace, without any square root of a matrix
    expected = (a.mean(0) - b.mean(0)).square().sum() + ca.square().sum() + cb.square().sum() - 2 * overlap
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-5)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-5)


def test_batches_give_the_same_gaussian_even_far_from_zero():
    x = torch.randn(100, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1e6
    whole, parts = fit_gaussian([x]), fit_gaussian(x.split(7))
    assert parts.count == 100
    torch.testing.assert_close(parts.mean_D, x.mean(0))
    torch.testing.assert_close(parts.covariance_DD, torch.cov(x.T), rtol=1e-8, atol=1e-9)
    assert gaussian_distance(whole, parts) == pytest.approx(0, abs=1e-6)


def test_symmetric_sqrt():
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    root = symmetric_sqrt(x @ x.T)
    torch.testing.assert_close(root @ root, x @ x.T)
    torch.testing.assert_close(root, root.T)


def test_bad_features_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        fit_gaussian([torch.zeros(1, 3)])
    with pytest.raises(ValueError, match="at least 2"):
        fit_gaussian([])
    with pytest.raises(ValueError, match="finite"):
        fit_gaussian([torch.full((3, 2), torch.nan)])
    with pytest.raises(ValueError, match="3 features with 2"):
        frechet_distance(torch.zeros(4, 3), torch.zeros(4, 2))


def test_a_shift_costs_its_square():
    a = features([0, 0, 0], torch.tensor([[2.0, 0, 0], [0.3, 1, 0], [-1, 0.2, 0.5]]))
    shift = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64)
    assert frechet_distance(a, a + shift) == pytest.approx(5.25, rel=1e-9)


def test_it_equals_torchmetrics_and_the_eigenvalues_of_the_plain_product():
    fid = pytest.importorskip("torchmetrics.image.fid")
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(80, 12, generator=generator, dtype=torch.float64) * scale for scale in (1.0, 1.7))
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    theirs = fid._compute_fid(a.mean(0), ca, b.mean(0), cb).item()
    overlap = torch.linalg.eigvals(ca @ cb).sqrt().real.sum()
    plain = (a.mean(0) - b.mean(0)).square().sum() + ca.trace() + cb.trace() - 2 * overlap
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(plain.item(), rel=1e-6)
