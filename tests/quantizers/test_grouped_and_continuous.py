"""Groups of dimensions against their quantizers one by one, and values without codes."""

import math

import pytest
import torch

from openflextok.config import ConfigError, ContinuousConfig, FSQConfig, GroupedConfig, LFQConfig, VQConfig
from openflextok.quantizers.continuous import Continuous
from openflextok.quantizers.fsq import FSQ
from openflextok.quantizers.grouped import Grouped


def slots(dim: int) -> torch.Tensor:
    return torch.randn(2, 7, dim, generator=torch.Generator().manual_seed(0))


def test_ids_are_the_digits_of_the_groups():
    quantizer, z = Grouped(GroupedConfig(VQConfig(5, 3), groups=3)), slots(9)
    found = quantizer(z)
    first, second, third = (part(z) for part, z in zip(quantizer.parts, z.chunk(3, dim=-1), strict=True))
    assert torch.equal(found.ids_BN, first.ids_BN + 5 * second.ids_BN + 25 * third.ids_BN)
    assert quantizer.codebook_size == 125 and quantizer.bits_per_token == pytest.approx(3 * math.log2(5))
    torch.testing.assert_close(quantizer.lookup(found.ids_BN), found.values_BND)
    mean = (first.losses.total + second.losses.total + third.losses.total) / 3
    torch.testing.assert_close(found.losses.total, mean)


def test_groups_of_fsq_are_one_fsq():
    """Dimensions are independent: cutting the levels into groups changes nothing."""
    whole, cut, z = FSQ(FSQConfig((5, 3, 5, 3))), Grouped(GroupedConfig(FSQConfig((5, 3)), 2)), slots(4)
    assert torch.equal(whole(z).ids_BN, cut(z).ids_BN)
    assert torch.equal(whole(z).values_BND, cut(z).values_BND)


def test_every_group_learns_its_codebook():
    quantizer = Grouped(GroupedConfig(VQConfig(4, 2), groups=2))
    before = [part.codebook_KD.clone() for part in quantizer.parts]
    quantizer(slots(4).requires_grad_())
    quantizer.end_step(True)
    assert all(not torch.equal(a, part.codebook_KD) for a, part in zip(before, quantizer.parts, strict=True))


def test_ids_must_fit_into_63_bits():
    assert Grouped(GroupedConfig(LFQConfig(31), 2)).codebook_size == 2**62
    with pytest.raises(ConfigError, match="do not fit"):
        GroupedConfig(LFQConfig(21), 3)


def test_continuous_tokens_have_unit_mean_square_and_no_ids():
    quantizer, z = Continuous(ContinuousConfig(6)), slots(6)
    found = quantizer(z)
    torch.testing.assert_close(found.values_BND.square().mean(-1), torch.ones(2, 7), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.values_BND, z / z.square().mean(-1, keepdim=True).sqrt(), rtol=1e-4, atol=1e-5)
    assert found.ids_BN is None and quantizer.bits_per_token == math.inf
    with pytest.raises(ValueError, match="continuous"):
        quantizer.lookup(torch.zeros(1, 1, dtype=torch.int64))
