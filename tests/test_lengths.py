"""Length policies."""

import pytest
import torch

from openflextok.config import ConfigError, FullConfig, UniformChoiceConfig
from openflextok.lengths import Full, UniformChoice
from openflextok.types import Draws, Slots

N = 8


def slots(batch: int) -> Slots:
    return Slots(torch.zeros(batch, N, 2))


def test_full_keeps_everything():
    keep = Full(FullConfig())(slots(3), Draws(range(3)))
    assert keep.shape == (3, N) and keep.dtype == torch.bool and bool(keep.all())


@pytest.mark.parametrize("choices", [(1, 2, 4, 8), (1, 2, 3, 4, 5, 6, 7, 8), (5,), (8, 1)])
def test_lengths_are_uniform_over_the_choices_and_prefixes(choices):
    samples = 4000
    keep = UniformChoice(UniformChoiceConfig(choices))(slots(samples), Draws(range(samples)))
    lengths = keep.sum(1)
    assert torch.equal(keep, torch.arange(N)[None] < lengths[:, None])
    counts = {int(k): int((lengths == k).sum()) for k in lengths.unique()}
    assert set(counts) == set(choices)
    expected = samples / len(choices)
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 30  # 7 degrees of freedom: p < 1e-4


def test_a_sample_has_the_same_length_in_any_batch():
    policy = UniformChoice(UniformChoiceConfig((1, 2, 4, 8)))
    together = policy(slots(5), Draws([7, 8, 9, 10, 11]))
    for i, seed in enumerate((7, 8, 9, 10, 11)):
        assert torch.equal(policy(slots(1), Draws([seed]))[0], together[i])


def test_the_largest_uniform_number_gives_the_last_choice():
    class Almost(Draws):
        def uniform(self):
            return torch.full((1,), 1 - 2**-24)

    for count in (1, 3, 9, 17, 256, 1000):
        policy = UniformChoice(UniformChoiceConfig(tuple(range(1, count + 1))))
        found = policy(Slots(torch.zeros(1, count, 2)), Almost([0]))
        assert int(found.sum()) == count


@pytest.mark.parametrize("choices", [(), (0, 1), (-2,)])
def test_impossible_choices_are_refused(choices):
    with pytest.raises(ConfigError, match="must each be at least 1"):
        UniformChoiceConfig(choices)
