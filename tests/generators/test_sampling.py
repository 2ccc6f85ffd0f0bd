"""Filters against transformers' own, the draw against the distribution, and wrong settings."""

import pytest
import torch

from openflextok.generators.sampling import Filter, draw, ramp, scales


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0.7}, {"top_k": 5}, {"top_p": 0.6}, {"min_p": 0.2}, {"temperature": 1.5, "top_k": 9, "top_p": 0.8, "min_p": 0.1}],
)  # fmt: skip
def test_filters_equal_those_of_transformers(settings: dict[str, float]) -> None:
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    warpers = {
        "temperature": TemperatureLogitsWarper, "top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper,
    }  # fmt: skip
    logits = 3 * torch.randn(32, 40, generator=torch.Generator().manual_seed(0)).double()
    expected = logits
    for name, value in settings.items():
        expected = warpers[name](value)(None, expected)
    torch.testing.assert_close(Filter(**settings).probabilities(logits), expected.softmax(-1))


def test_temperature_zero_takes_the_likeliest() -> None:
    logits = torch.randn(8, 40, generator=torch.Generator().manual_seed(0))
    probs = Filter(temperature=0).probabilities(logits)
    assert torch.equal(probs.argmax(-1), logits.argmax(-1)) and torch.equal(probs.amax(-1), torch.ones(8).double())


def test_draws_follow_the_distribution() -> None:
    probs = torch.tensor([[0.0, 0.5, 0.0, 0.25, 0.25, 0.0]], dtype=torch.float64)
    uniform = (torch.arange(1000) + 0.5) / 1000
    drawn = draw(probs.expand(1000, -1), uniform)
    assert torch.bincount(drawn, minlength=6).tolist() == [0, 500, 0, 250, 250, 0]
    assert draw(probs, torch.tensor([0.0])).item() == 1  # never a row without probability
    assert draw(probs, torch.tensor([1 - 2**-24])).item() == 4


def test_scales() -> None:
    assert scales(1.5, 3) == [1.5, 1.5, 1.5]
    assert scales([1, 2.5], 2) == [1.0, 2.5]
    assert ramp(1, 3, 5) == [1, 1.5, 2, 2.5, 3]
    assert ramp(2, 9, 1) == [2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Filter(temperature=-1), r"temperature -1 cannot be used: give a number >= 0"),
        (lambda: Filter(temperature=float("nan")), r"temperature nan"),
        (lambda: Filter(top_k=0), r"top_k 0 cannot be used: give 1 or more"),
        (lambda: Filter(top_p=0.0), r"top_p 0.0 cannot be used: it needs 0 < top_p <= 1"),
        (lambda: Filter(min_p=1.5), r"min_p 1.5 cannot be used"),
        (lambda: scales([1.0, 2.0], 3), r"got 2 guidance scales for 3 tokens"),
        (lambda: scales(float("inf"), 3), r"guidance inf cannot be used"),
        (lambda: scales(-1, 3), r"guidance -1.0 cannot be used"),
    ],
)
def test_wrong_settings(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
