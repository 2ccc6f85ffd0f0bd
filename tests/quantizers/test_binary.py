"""LFQ and BSQ: every code, the straight-through gradient, and entropies against brute force over all codes."""

import itertools
import math

import pytest
import torch

from openflextok.config import BSQConfig, ConfigError, LFQConfig
from openflextok.quantizers import binary
from openflextok.quantizers.binary import BSQ, LFQ, Binary


def make(kind: str, dim: int, **options: float) -> Binary:
    return LFQ(LFQConfig(dim, **options)) if kind == "lfq" else BSQ(BSQConfig(dim, **options))


@pytest.mark.parametrize("kind", ["lfq", "bsq"])
def test_every_code_survives_and_bits_are_little_endian(kind):
    quantizer = make(kind, 10)
    ids = torch.arange(quantizer.codebook_size)[None]
    values = quantizer.lookup(ids)
    again = quantizer((values * 0.3).bfloat16())
    assert quantizer.codebook_size == 1024 and quantizer.bits_per_token == 10
    assert torch.equal(again.ids_BN, ids) and torch.equal(again.values_BND, values)
    assert [bool(v > 0) for v in values[0, 5]] == [True, False, True] + [False] * 7


def test_sizes_of_codes():
    assert make("lfq", 4).lookup(torch.tensor([[0, 15]])).abs().unique().tolist() == [1.0]
    assert make("bsq", 4).lookup(torch.tensor([[3]])).norm().item() == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["lfq", "bsq"])
def test_gradients_pass_straight_through_the_signs(kind):
    quantizer = make(kind, 6)
    z = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))
    (quantizer(z).values_BND * weight).sum().backward()
    found, z.grad = z.grad, None
    (quantizer.bound(z) * weight).sum().backward()
    torch.testing.assert_close(found, z.grad)


@pytest.mark.parametrize("kind", ["lfq", "bsq"])
def test_entropies_equal_a_softmax_over_all_codes(kind):
    dim, tau = 3, 0.7
    quantizer = make(kind, dim, entropy_weight=1.0, commitment_weight=0.0, inverse_temperature=tau)
    z = torch.randn(2, 5, dim, generator=torch.Generator().manual_seed(2))
    bounded = quantizer.bound(z)
    codes = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=dim))) * quantizer.size
    p = (-tau * (bounded[:, :, None] - codes).square().sum(-1)).softmax(-1)
    each = -(p * p.log()).sum(-1).mean()
    of_mean = -(p.mean(0) * p.mean(0).log()).sum(-1).mean()
    torch.testing.assert_close(quantizer(z).losses.terms["entropy"], each - of_mean)


def test_more_bits_than_a_group_add_their_groups(monkeypatch):
    z = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(3))
    first, second = (make("lfq", n, entropy_weight=1.0, commitment_weight=0.0) for n in (3, 2))
    expected = first(z[..., :3]).losses.total + second(z[..., 3:]).losses.total
    monkeypatch.setattr(binary, "GROUP", 3)
    found = make("lfq", 5, entropy_weight=1.0, commitment_weight=0.0)(z).losses.total
    torch.testing.assert_close(found, expected)


def test_bits_that_copy_each_other_are_not_spread():
    """Two codes of four equal bits: one bit of entropy, not four."""
    copies = torch.stack([torch.ones(1, 4), -torch.ones(1, 4)])
    quantizer = make("lfq", 4, entropy_weight=1.0, commitment_weight=0.0, inverse_temperature=10.0)
    assert quantizer(copies).losses.terms["entropy"].item() == pytest.approx(-math.log(2), abs=1e-3)


def test_tokens_that_never_change_are_not_spread():
    """Two images, two tokens with opposite constant signs: no entropy over images, so nothing is gained."""
    quantizer = make("lfq", 4, entropy_weight=1.0, commitment_weight=0.0, inverse_temperature=10.0)
    constant = torch.stack([torch.ones(2, 4), -torch.ones(2, 4)], dim=1)
    changing = torch.stack([torch.ones(2, 4), -torch.ones(2, 4)], dim=0)
    assert quantizer(constant).losses.terms["entropy"].item() == pytest.approx(0, abs=1e-4)
    assert quantizer(changing).losses.terms["entropy"].item() == pytest.approx(-math.log(2), abs=1e-3)


@pytest.mark.parametrize("kind", ["lfq", "bsq"])
def test_slots_far_from_zero_have_finite_gradients(kind):
    z = (torch.tensor([[[1.0, -1.0, 1e4]]]) * 1e3).requires_grad_()
    sum(make(kind, 3, commitment_weight=0.5)(z).losses.terms.values()).backward()
    assert torch.isfinite(z.grad).all()


def test_commitment_is_the_mean_squared_distance():
    z = torch.tensor([[[0.5, -3.0]]])
    quantizer = make("lfq", 2, commitment_weight=2.0, entropy_weight=0.0)
    assert quantizer(z).losses.terms["commitment"].item() == pytest.approx(2 * (0.25 + 4.0) / 2)
    assert list(quantizer(z).losses.terms) == ["commitment"]


@pytest.mark.parametrize(
    "make_config", [lambda: LFQConfig(63), lambda: BSQConfig(0), lambda: LFQConfig(4, inverse_temperature=0)]
)
def test_impossible_settings_are_refused(make_config):
    with pytest.raises(ConfigError):
        make_config()
