"""The path and its time samplers against closed forms and reference vectors."""

import math

import pytest
import torch

from openflextok.config import LogitNormalConfig, ModeConfig, UniformConfig
from openflextok.flow.path import SAMPLERS, Mode, sample_path
from openflextok.types import Draws

SAMPLES = 20_000


def kolmogorov_smirnov(times: torch.Tensor, cdf) -> float:
    """sqrt(n) times the largest distance between empirical and given distribution; above 2.2 has p < 1e-4."""
    t = times.double().sort().values
    n = len(t)
    expected = cdf(t)
    steps = torch.arange(n, dtype=torch.double)
    distance = torch.maximum((expected - steps / n).abs(), ((steps + 1) / n - expected).abs()).max()
    return float(distance) * math.sqrt(n)


def mode_cdf(scale: float):
    """P(t <= x) by bisection of the decreasing map u -> t."""

    def cdf(x: torch.Tensor) -> torch.Tensor:
        low, high = torch.zeros_like(x), torch.ones_like(x)
        for _ in range(60):
            u = (low + high) / 2
            t = 1 - u - scale * (torch.cos(math.pi / 2 * u) ** 2 - 1 + u)
            low, high = torch.where(t > x, u, low), torch.where(t > x, high, u)
        return 1 - (low + high) / 2

    return cdf


def logit_normal_cdf(mean: float, std: float):
    return lambda x: 0.5 * (1 + torch.erf((torch.logit(x) - mean) / (std * math.sqrt(2))))


@pytest.mark.parametrize(
    "config, cdf",
    [
        (UniformConfig(), lambda x: x),
        (LogitNormalConfig(), logit_normal_cdf(0.0, 1.0)),
        (LogitNormalConfig(0.5, 0.7), logit_normal_cdf(0.5, 0.7)),
        (ModeConfig(0.25), mode_cdf(0.25)),
        (ModeConfig(1.29), mode_cdf(1.29)),
        (ModeConfig(0.0), lambda x: x),
    ],
    ids=lambda value: str(value) if not callable(value) else "",
)
def test_times_follow_their_distribution(config, cdf):
    times = SAMPLERS[type(config)](config)(Draws(range(SAMPLES)))
    assert times.shape == (SAMPLES,) and times.dtype == torch.float32
    assert float(times.min()) >= 0 and float(times.max()) <= 1
    assert kolmogorov_smirnov(times, cdf) < 2.2
    if config != UniformConfig() and config != ModeConfig(0.0):
        assert kolmogorov_smirnov(times, lambda x: x) > 2.2  # the oracle can tell them from uniform times


def test_a_sample_has_the_same_time_in_any_batch():
    for config in (UniformConfig(), LogitNormalConfig(), ModeConfig()):
        sampler = SAMPLERS[type(config)](config)
        together = sampler(Draws([5, 6, 7]))
        assert [float(sampler(Draws([seed]))) for seed in (5, 6, 7)] == together.tolist()


@pytest.mark.parametrize("name", ["uniform", "mode0.25", "mode1.29", "ln"])
def test_reference_times(name, units):
    expected = units("path")
    u, times = expected[f"{name}.u"], expected[f"{name}.sigmas"]
    found = {
        "uniform": lambda: u,
        "mode0.25": lambda: Mode(ModeConfig(0.25)).warp(u),
        "mode1.29": lambda: Mode(ModeConfig(1.29)).warp(u),
        "ln": lambda: torch.sigmoid(u),
    }[name]()
    torch.testing.assert_close(found, times, rtol=0, atol=1e-6)


def test_reference_path(units):
    expected = units("path")
    path = sample_path(expected["clean"], expected["mode0.25.noise"], expected["mode0.25.sigmas"])
    torch.testing.assert_close(path.x_t_BCHW, expected["mode0.25.noised"], rtol=0, atol=1e-6)


def test_ends_and_slope_of_the_path():
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 3, 3, 4, 5, generator=generator)
    torch.testing.assert_close(sample_path(x0, noise, torch.zeros(3)).x_t_BCHW, x0, rtol=0, atol=0)
    torch.testing.assert_close(sample_path(x0, noise, torch.ones(3)).x_t_BCHW, noise, rtol=0, atol=0)
    times, step = torch.tensor([0.2, 0.5, 0.7]), 0.125
    here, there = sample_path(x0, noise, times), sample_path(x0, noise, times + step)
    torch.testing.assert_close((there.x_t_BCHW - here.x_t_BCHW) / step, here.velocity_BCHW, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(here.velocity_BCHW, noise - x0, rtol=0, atol=0)
