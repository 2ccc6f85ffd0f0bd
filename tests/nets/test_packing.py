"""Samples that share their linear layers attend to nothing but themselves."""

from __future__ import annotations

import pytest
import torch

from openflextok.nets.attention import Attention, attention_backend
from openflextok.nets.packing import apart, together
from openflextok.nets.transformer import TwoStreamBlock

PATCHES, REGISTERS, WIDTH = 4, (5, 1, 2), 32


@pytest.fixture
def groups() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(3, PATCHES + count, WIDTH) for count in REGISTERS]


@pytest.fixture
def masks() -> list[torch.Tensor | None]:
    """None, one that is added to the scores, and a boolean one."""
    last = PATCHES + REGISTERS[2]
    return [None, torch.randn(1, 1, 1, PATCHES + REGISTERS[1]), torch.ones(last, last, dtype=torch.bool).tril()]


def test_the_rows_of_one_group_follow_those_of_the_other_and_come_back(groups):
    joined = together(groups)
    assert torch.equal(joined[0], torch.cat([sample for group in groups for sample in group]))
    for found, group in zip(apart(joined, groups), groups, strict=True):
        assert torch.equal(found, group)


def test_a_single_group_is_neither_copied_nor_reshaped(groups):
    assert together(groups[:1]) is groups[0]
    assert apart(groups[0], groups[:1])[0] is groups[0]


@pytest.mark.parametrize("backend", ["sdpa", "math", "flex"])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_attention_together_equals_samples_one_by_one(backend, groups, masks):
    attention = Attention(WIDTH, 8)
    with torch.no_grad(), attention_backend(backend):
        for found, group, mask in zip(attention.together(groups, masks), groups, masks, strict=True):
            for sample in range(3):
                alone = group[sample : sample + 1]
                torch.testing.assert_close(found[sample : sample + 1], attention(alone, mask))


@pytest.mark.parametrize("times", [1, 3])
def test_a_block_over_groups_equals_one_over_each_sample(groups, masks, times, randomise):
    """`times`: adaLN numbers for all samples, or each sample's own."""
    block = randomise(TwoStreamBlock(WIDTH, 8))
    modulation = block.modulate(torch.randn(times, WIDTH))
    with torch.no_grad():
        for found, group, mask in zip(block(groups, PATCHES, modulation, masks), groups, masks, strict=True):
            for i in range(3):
                alone = block([group[i : i + 1]], PATCHES, modulation[i % times][None], [mask])[0]
                torch.testing.assert_close(found[i : i + 1], alone, rtol=1e-4, atol=1e-4)


def test_gradients_through_groups_equal_those_one_by_one(groups, masks, randomise):
    """Without gradients the gate of the MLP is computed in place; with them it must not be."""
    block = randomise(TwoStreamBlock(WIDTH, 8)).double()
    groups = [group.double() for group in groups]
    modulation = block.modulate(torch.randn(1, WIDTH).double()).detach()

    def gradients(results: list[torch.Tensor]) -> list[torch.Tensor]:
        block.zero_grad()
        torch.stack([result.square().sum() for result in results]).sum().backward()
        return [p.grad.clone() for p in block.parameters() if p.grad is not None]

    found = gradients(block(groups, PATCHES, modulation, masks))
    alone = [block([g], PATCHES, modulation, [m])[0] for g, m in zip(groups, masks, strict=True)]
    for value, expected in zip(found, gradients(alone), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        for value, expected in zip(block(groups, PATCHES, modulation, masks), alone, strict=True):
            torch.testing.assert_close(value, expected.detach(), rtol=1e-5, atol=1e-5)
