"""Baselines against closed forms and brute force."""

import math

import pytest
import torch

from openflextok.evaluate.baselines import (
    class_shuffled_ids,
    position_unigram_bits,
    uniform_bits,
    uniform_ids,
    unigram_bits,
    unigram_ids,
)


def test_bits_by_hand() -> None:
    train, heldout = torch.tensor([[0, 1], [0, 2]]), torch.tensor([[0, 3]])
    assert uniform_bits(4) == 2
    assert unigram_bits(train, heldout, 4, extra=1.0) == pytest.approx(-(math.log2(3 / 8) + math.log2(1 / 8)) / 2)
    first, second = -math.log2(2.5 / 4), -math.log2(0.5 / 4)
    assert position_unigram_bits(train, heldout, 4, extra=0.5) == pytest.approx((first + second) / 2)


def test_without_knowledge_all_agree() -> None:
    heldout = torch.randint(16, (5, 8))
    train = torch.arange(16)[:, None].expand(-1, 8)
    for bits in (unigram_bits, position_unigram_bits):
        assert bits(train, heldout, 16) == pytest.approx(uniform_bits(16))


def test_unigram_ids_come_with_their_frequencies() -> None:
    train = torch.tensor([[5] * 8, [5] * 8, [5] * 8, [9] * 8])
    drawn = unigram_ids(train, 4000, seed=0)
    assert drawn.shape == (4000, 8) and set(drawn.unique().tolist()) == {5, 9}
    assert (drawn == 5).float().mean().item() == pytest.approx(0.75, abs=0.01)
    assert torch.equal(drawn, unigram_ids(train, 4000, seed=0))


def test_uniform_ids_fill_the_codebook() -> None:
    drawn = uniform_ids(10, 2000, 4, seed=1)
    assert torch.bincount(drawn.flatten(), minlength=10).float().div(8000).sub(0.1).abs().max() < 0.02


def test_shuffled_ids_keep_class_and_position_and_nothing_else() -> None:
    train = torch.arange(6)[:, None] * 100 + torch.arange(8)  # row r, position n: 100 r + n
    labels = ["a", "b", "a", "b", "a", None]
    made = class_shuffled_ids(train, labels, ["a"] * 300 + ["b"] * 300, seed=0)
    assert torch.equal(made % 100, torch.arange(8).expand(600, -1))
    assert set((made[:300] // 100).unique().tolist()) == {0, 2, 4}
    assert set((made[300:] // 100).unique().tolist()) == {1, 3}
    rows = made[300:] // 100
    assert (rows[:, 0] == rows[:, 1]).float().mean().item() == pytest.approx(0.5, abs=0.1)  # independent of each other
    with pytest.raises(ValueError, match="no training row has the label 'c'"):
        class_shuffled_ids(train, labels, ["c"], seed=0)
