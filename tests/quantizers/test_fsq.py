"""FSQ against closed forms, an exhaustive walk over its codes, and reference vectors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openflextok.config import ConfigError, FSQConfig
from openflextok.quantizers.fsq import FSQ

LEVELS = (8, 8, 8, 5, 5, 5)
level_sets = st.lists(st.integers(2, 17), min_size=1, max_size=4).map(tuple)


def make(*levels: int) -> FSQ:
    return FSQ(FSQConfig(levels or LEVELS))


def all_ids(fsq: FSQ) -> torch.Tensor:
    return torch.arange(fsq.codebook_size)[None]


def slots_for(fsq: FSQ, values: torch.Tensor) -> torch.Tensor:
    """The inverse of the bound: encoder outputs whose rounding margin is largest for these values; float64 inside."""
    levels = fsq.levels_D.double()
    half = (levels - 1) * 1.001 / 2
    offset = 0.5 * (levels % 2 == 0)
    digits = values.double() * (fsq.levels_D // 2)
    return (torch.atanh((digits + offset) / half) - torch.atanh(offset / half)).float()


def digits_by_hand(number: int, levels: tuple[int, ...]) -> list[int]:
    digits = []
    for level in levels:
        digits.append(number % level)
        number //= level
    return digits


def test_every_one_of_64000_codes_survives_values_and_slots():
    fsq = make()
    ids = all_ids(fsq)
    assert ids.numel() == 64_000
    values = fsq.lookup(ids)
    again = fsq(slots_for(fsq, values))
    assert again.ids_BN is not None and torch.equal(again.ids_BN, ids)
    assert torch.equal(again.values_BND, values)
    assert values.abs().max() == 1 and len(values[0].unique(dim=0)) == 64_000


@pytest.mark.parametrize("autocast", [False, True], ids=["bf16 input", "bf16 input under autocast"])
def test_every_code_survives_bfloat16(autocast):
    fsq = make()
    values = fsq.lookup(all_ids(fsq))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        again = fsq(slots_for(fsq, values).bfloat16())
    assert again.ids_BN is not None and torch.equal(again.ids_BN, all_ids(fsq))
    assert again.values_BND.dtype == torch.float32 and torch.equal(again.values_BND, values)


def test_moving_the_module_to_bfloat16_keeps_ids_exact():
    fsq = make().to(torch.bfloat16)
    values = fsq.lookup(all_ids(fsq))
    assert values.dtype == torch.float32
    assert torch.equal(fsq(slots_for(fsq, values)).ids_BN, all_ids(fsq))


@given(levels=level_sets)
@settings(max_examples=25, deadline=None)
def test_any_levels_round_trip_and_are_little_endian(levels):
    if math.prod(levels) > 20_000:
        levels = levels[:2]
    fsq = make(*levels)
    assert fsq.codebook_size == math.prod(levels) and fsq.bits_per_token == math.log2(fsq.codebook_size)
    ids = all_ids(fsq)
    values = fsq.lookup(ids)
    assert torch.equal(fsq(slots_for(fsq, values)).ids_BN, ids)
    for number in (0, 1, fsq.codebook_size // 3, fsq.codebook_size - 1):
        digits = digits_by_hand(number, levels)
        expected = [(digit - level // 2) / (level // 2) for digit, level in zip(digits, levels, strict=True)]
        assert values[0, number].tolist() == pytest.approx(expected)


@given(levels=level_sets, seed=st.integers(0, 100), scale=st.sampled_from([0.01, 1.0, 5.0, 1e4]))
@settings(max_examples=25, deadline=None)
def test_any_slot_gives_the_nearest_level_of_its_bounded_value(levels, seed, scale):
    """Brute force over levels; and ids, values and lookup agree."""
    fsq = make(*levels)
    z = torch.randn(1, 64, len(levels), generator=torch.Generator().manual_seed(seed)) * scale
    result = fsq(z)
    assert result.ids_BN is not None
    assert int(result.ids_BN.min()) >= 0 and int(result.ids_BN.max()) < fsq.codebook_size
    torch.testing.assert_close(result.values_BND, fsq.lookup(result.ids_BN), rtol=0, atol=0)
    bounded = fsq.bound(z)
    for d, level in enumerate(levels):
        choices = torch.arange(level) - level // 2
        distances = (bounded[..., d, None] - choices).abs()
        chosen = (bounded[..., d] - result.values_BND[..., d] * (level // 2)).abs()
        torch.testing.assert_close(chosen, distances.amin(-1), rtol=0, atol=2e-6)
        assert float(chosen.max()) <= 0.5 + 1e-6  # the bound leaves no value beyond the outermost level's half


def test_rounding_margin_decides_whether_noise_can_change_an_id():
    """A slot moves by less than its distance to the next boundary: same id; by more: another id in that dimension."""
    fsq = make()
    z = torch.randn(1, 500, 6, generator=torch.Generator().manual_seed(1))
    before = fsq(z)
    bounded = fsq.bound(z).double()
    margin = 0.5 - (bounded - bounded.round()).abs()
    towards = torch.where(bounded > bounded.round(), 1.0, -1.0)
    levels = fsq.levels_D.double()
    half, offset = (levels - 1) * 1.001 / 2, 0.5 * (levels % 2 == 0)

    def moved(share: float) -> torch.Tensor:
        target = (bounded + towards * margin * share + offset) / half
        return (torch.atanh(target.clamp(-0.999999, 0.999999)) - torch.atanh(offset / half)).float()

    # beyond the outermost levels there is no other level: leave those out
    inner = (bounded + towards * margin * 1.05 + offset).abs() < half * 0.9999
    inner &= ((bounded.round() + towards) + levels // 2 >= 0) & ((bounded.round() + towards) + levels // 2 < levels)
    stay, change = fsq(moved(0.95)).values_BND, fsq(moved(1.05)).values_BND
    assert inner.float().mean() > 0.5
    assert torch.equal(stay[inner], before.values_BND[inner])
    assert bool((stay[inner] != change[inner]).all())


def test_straight_through_gradient_is_the_derivative_of_the_bound():
    """d values / d z = half (1 - tanh^2(z + shift)) / (L // 2), element by element."""
    fsq = make()
    z = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(1))
    (fsq(z).values_BND * weight).sum().backward()
    levels = torch.tensor(LEVELS).double()
    half, offset = (levels - 1) * 1.001 / 2, 0.5 * (levels % 2 == 0)
    tanh = torch.tanh(z.detach().double() + torch.atanh(offset / half))
    expected = weight * half * (1 - tanh**2) / (levels // 2)
    torch.testing.assert_close(z.grad, expected.float(), rtol=1e-5, atol=1e-6)
    assert z.grad is not None and float(z.grad.abs().min()) > 0


@pytest.mark.parametrize("name", ["fsq", "fsq_4x6", "fsq_7_6_5"])
def test_reference_vectors(name, units):
    expected = units(name)
    fsq = make(*expected["levels"].tolist())
    z = expected["z"][None]
    torch.testing.assert_close(fsq.bound(z)[0], expected["bounded"], rtol=0, atol=1e-5)
    result = fsq(z)
    assert result.ids_BN is not None and torch.equal(result.ids_BN[0], expected["indices"].long())
    torch.testing.assert_close(result.values_BND[0], expected["quants"], rtol=0, atol=1e-6)
    torch.testing.assert_close(fsq.lookup(expected["ids"][None])[0], expected["codes"], rtol=0, atol=1e-7)


def test_zero_slots_give_one_code_in_the_middle():
    """What a zero-initialised head gives on the first step."""
    fsq = make()
    ids = fsq(torch.zeros(3, 4, 6)).ids_BN
    assert ids is not None and ids.unique().tolist() == [
        sum(4 * 8**i for i in range(3)) + sum(2 * 512 * 5**i for i in range(3))
    ]


@pytest.mark.parametrize("levels", [(), (1,), (8, 0), (8, -5)])
def test_bad_levels_are_refused(levels):
    with pytest.raises(ConfigError, match="at least 2"):
        FSQConfig(levels)
    with pytest.raises(ConfigError, match="more codes than ids of 64 bits"):
        FSQConfig((8,) * 21)


def test_it_has_no_parameters_and_no_state():
    assert not list(make().parameters()) and not make().state_dict()
