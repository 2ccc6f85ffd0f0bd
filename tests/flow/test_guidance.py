"""Guidance against closed forms and reference vectors."""

import numpy as np
import pytest
import torch
from torch import Tensor

from openflextok.flow.guidance import APG, CFG, orthogonal, resolve_guidance


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 5, 6, generator=generator), torch.randn(3, 4, 5, 6, generator=generator)


@pytest.mark.parametrize("guidance", [CFG(1.0), APG(1.0)])
def test_scale_one_is_the_conditional_velocity(guidance, pair):
    combine = guidance.start()
    for _ in range(3):
        torch.testing.assert_close(combine(*pair), pair[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("guidance", [CFG(3.0), APG(7.5)])
def test_equal_velocities_need_no_guidance(guidance, pair):
    torch.testing.assert_close(guidance.start()(pair[0], pair[0].clone()), pair[0], rtol=0, atol=1e-6)


def test_cfg_scale_zero_is_the_unconditional_velocity(pair):
    torch.testing.assert_close(CFG(0.0).start()(*pair), pair[1])


def test_apg_moves_orthogonally_to_the_conditional_velocity(pair):
    cond, uncond = pair
    combine = APG(7.5).start()
    for _ in range(4):  # also with momentum
        moved = (combine(cond, uncond) - cond).double().flatten(1)
        direction = cond.double().flatten(1)
        cosine = (moved * direction).sum(1) / (moved.norm(dim=1) * direction.norm(dim=1))
        assert float(moved.norm(dim=1).min()) > 1
        assert float(cosine.abs().max()) < 1e-5


def test_a_parallel_difference_does_not_move_apg(pair):
    cond, _ = pair
    torch.testing.assert_close(APG(7.5).start()(cond, 0.3 * cond), cond, rtol=0, atol=1e-4)


def test_orthogonal_plus_parallel_is_the_whole(pair):
    difference, cond = pair
    across = orthogonal(difference, cond)
    for d, c, a in zip(difference, cond, across, strict=True):  # by hand, one sample at a time
        share = float((d * c).sum() / (c * c).sum())
        torch.testing.assert_close(a + share * c, d, rtol=1e-4, atol=1e-5)


def test_apg_clips_the_norm_per_sample():
    """Differences orthogonal to the velocity, with norms 1 and 10: the first passes, the second is cut to 2.5."""
    cond = torch.zeros(2, 2, 3, 3)
    cond[:, 0] = 1.0
    difference = torch.zeros_like(cond)
    difference[0, 1], difference[1, 1] = 1 / 3, 10 / 3  # nine equal entries: norm 1 and 10
    moved = APG(3.0).start()(cond, cond - difference) - cond
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.tensor([2 * 1.0, 2 * 2.5]))


def test_apg_momentum_is_a_geometric_sum():
    """With a constant difference d, the average after n steps is d (1 + m + ... + m^(n-1)), m = -0.5."""
    cond = torch.zeros(1, 2, 3, 3)
    cond[:, 0] = 1.0
    difference = torch.zeros_like(cond)
    difference[:, 1] = 0.1
    combine = APG(2.0).start()
    average = 0.0
    for _ in range(5):
        average = 1 - 0.5 * average
        torch.testing.assert_close(combine(cond, cond - difference) - cond, difference * average)


def test_each_start_has_its_own_momentum(pair):
    guidance = APG(3.0)
    first = guidance.start()
    first(*pair)
    torch.testing.assert_close(guidance.start()(*pair), APG(3.0).start()(*pair), rtol=0, atol=0)


def test_a_sample_does_not_see_its_batch(pair):
    cond, uncond = pair
    together, alone = APG(7.5).start(), APG(7.5).start()
    for _ in range(3):
        torch.testing.assert_close(together(cond, uncond)[1:2], alone(cond[1:2], uncond[1:2]))


def test_zero_velocities_stay_finite():
    zero = torch.zeros(1, 2, 3, 3)
    assert torch.equal(APG(7.5).start()(zero, zero), zero)


@pytest.mark.parametrize("name, guidance", [("cfg_3.0", CFG(3.0)), ("apg_1.5", APG(1.5)), ("apg_7.5", APG(7.5))])
def test_reference_vectors(name, guidance, units):
    expected = units("guidance")
    combine = guidance.start()
    for cond, uncond, result in zip(expected["cond"], expected["uncond"], expected[name], strict=True):
        torch.testing.assert_close(combine(cond, uncond), result, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "given, default, expected",
    [
        (None, "apg:7.5", None),
        ("default", None, None),
        ("default", "apg:7.5", APG(7.5)),
        ("cfg:3", "apg:7.5", CFG(3.0)),
        (4, "apg:7.5", APG(4.0)),
        (4.5, "cfg:1.5", CFG(4.5)),
        (2, None, CFG(2.0)),
        (APG(2.0, momentum=0.0), "cfg:3", APG(2.0, momentum=0.0)),
    ],
)
def test_what_callers_may_write(given, default, expected):
    assert resolve_guidance(given, default) == expected


@pytest.mark.parametrize(
    "text", ["cfg", "cfg:", "cfg:x", "ppg:3", "3", "apg 3", "", "cfg:nan", "apg:inf", float("nan"), float("inf")]
)
def test_unknown_guidance_names_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"unknown guidance .*cfg:SCALE.*apg:SCALE"):
        resolve_guidance(text, "cfg:3")


@pytest.mark.parametrize("scale", [3, 3.0, np.int64(3), np.float32(3), np.float64(3)])
def test_any_number_is_a_scale(scale):
    assert resolve_guidance(scale, "apg:7.5") == APG(3.0) and resolve_guidance(scale, None) == CFG(3.0)


@pytest.mark.parametrize("guidance", [True, object(), torch.tensor(3.0), [3], CFG])
def test_what_is_no_guidance_is_refused(guidance):
    with pytest.raises(ValueError, match="unknown guidance .*: give None, a number"):
        resolve_guidance(guidance, None)
