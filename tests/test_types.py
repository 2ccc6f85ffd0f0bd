"""Tokens, lengths, losses and random streams."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from openflextok.types import Draws, Losses, Tokens, check_lengths


def full(batch: int = 3, length: int = 6) -> Tokens:
    ids = torch.arange(batch * length).view(batch, length)
    return Tokens(ids[..., None].float(), ids, torch.ones(batch, length, dtype=torch.bool))


@given(data=st.data(), batch=st.integers(1, 4), most=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_truncate_equals_slicing_each_image(data, batch, most):
    lengths = data.draw(st.lists(st.integers(1, most), min_size=batch, max_size=batch))
    tokens = full(batch, most).truncate(lengths)
    assert len(tokens) == batch and tokens.lengths.tolist() == lengths
    assert tokens.ids.shape == tokens.keep_BN.shape == tokens.values_BND.shape[:2] == (batch, max(lengths))
    for i, length in enumerate(lengths):
        assert tokens.ids[i][tokens.keep_BN[i]].tolist() == list(range(i * most, i * most + length))
        assert tokens.keep_BN[i].tolist() == [True] * length + [False] * (max(lengths) - length)
    shortest = data.draw(st.integers(1, min(lengths)))
    assert torch.equal(tokens.truncate(shortest).ids, full(batch, most).truncate(shortest).ids)


@pytest.mark.parametrize(
    "form", [4, [4, 4, 4], torch.tensor(4), torch.tensor([4, 4, 4]), torch.tensor([4, 4, 4], dtype=torch.uint8)]
)
def test_forms_of_length(form):
    tokens = full().truncate(form)
    assert tokens.lengths.tolist() == [4, 4, 4] and tokens.lengths.dtype == torch.int64


@pytest.mark.parametrize(
    "length, message",
    [
        (300, r"cannot keep 300 tokens: this tokenizer has 6 \(1 <= length <= 6\)"),
        (0, r"cannot keep 0 tokens: this tokenizer has 6 \(1 <= length <= 6\)"),
        (-1, "cannot keep -1 tokens"),
        ([1, 2, 7], "cannot keep 7 tokens"),
        ([1, 2], r"lengths of shape \(2,\) for 3 images: give one int, or one per image"),
        ([], r"whole numbers|shape \(0,\)"),
        ([[1, 2, 3]], r"lengths of shape \(1, 3\)"),
        (2.0, "lengths must be whole numbers, not torch.float32"),
        (True, "lengths must be whole numbers, not torch.bool"),
    ],
)
def test_lengths_that_are_refused(length, message):
    with pytest.raises(ValueError, match=message):
        full().truncate(length)


def test_truncating_cannot_bring_tokens_back():
    tokens = full().truncate([1, 4, 6])
    with pytest.raises(ValueError, match="cannot keep 2 tokens: an image of this batch has only 1 left"):
        tokens.truncate(2)
    assert tokens.truncate([1, 2, 3]).lengths.tolist() == [1, 2, 3]


def test_truncate_leaves_the_original_alone():
    tokens = full()
    tokens.truncate(2)
    assert tokens.lengths.tolist() == [6, 6, 6] and bool(tokens.keep_BN.all())


def test_continuous_tokens_have_no_ids():
    tokens = Tokens(torch.zeros(1, 3, 2), None, torch.ones(1, 3, dtype=torch.bool)).truncate(2)
    assert tokens.values_BND.shape == (1, 2, 2)
    with pytest.raises(ValueError, match="no ids: read `values_BND`"):
        _ = tokens.ids


def test_check_lengths_is_a_plain_tensor():
    found = check_lengths(3, 4, 5)
    assert found.tolist() == [3, 3, 3, 3] and found.dtype == torch.int64


def test_losses_add_up():
    first = Losses({"a": torch.tensor(1.0)}, {"m": torch.tensor(5.0)}, torch.zeros(1, 2, 3))
    second = Losses({"b": torch.tensor(2.0, dtype=torch.bfloat16)}, {"n": torch.tensor(6.0)})
    both = first + second
    assert float(both.total) == 3.0 and both.total.dtype == torch.float32
    assert set(both.metrics) == {"m", "n"} and both.features_BPD is first.features_BPD
    assert (second + first).features_BPD is first.features_BPD


def test_draws_of_a_sample_do_not_depend_on_its_batch():
    together = Draws([4, 5, 6])
    numbers = [together.normal(2, 3), together.uniform(), together.normal()]
    for i, seed in enumerate((4, 5, 6)):
        alone = Draws([seed])
        for found, expected in zip(numbers, [alone.normal(2, 3), alone.uniform(), alone.normal()], strict=True):
            assert torch.equal(found[i], expected[0])
    assert len({float(x) for x in numbers[1]}) == 3 and len(together) == 3


def test_any_whole_number_is_a_seed():
    seeds = [-1, 0, 1, 5, 1 << 32, (1 << 40) + 5, (2 << 40) + 5, 2**63, 2**64 + 5, 10**30]
    numbers = Draws(seeds).uniform()
    assert len(numbers.unique()) == len(seeds) and torch.equal(numbers, Draws(seeds).uniform())
    for seed in (0, 5, 2**32 - 1):
        assert float(Draws([seed]).uniform()) == float(torch.rand(1, generator=torch.Generator().manual_seed(seed)))


def test_draws_are_standard():
    draws = Draws(range(3000))
    assert float(draws.normal().mean()) == pytest.approx(0, abs=0.08)
    assert float(draws.normal().std()) == pytest.approx(1, abs=0.06)
    assert float(draws.uniform().mean()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "values, ids, keep",
    [
        (torch.zeros(2, 3, 4), torch.zeros(2, 4, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)),
        (torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int32), torch.ones(2, 3, dtype=torch.bool)),
        (torch.zeros(2, 3, 4), None, torch.ones(3, 3, dtype=torch.bool)),
        (torch.zeros(2, 3), None, torch.ones(2, 3, dtype=torch.bool)),
        (torch.zeros(2, 3, 4), None, torch.ones(2, 3)),
    ],
)
def test_the_tests_check_shapes_and_types(values, ids, keep):
    """What travels between the parts is checked against its annotations wherever a test makes it."""
    Tokens(torch.zeros(2, 3, 4), None, torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(TypeCheckError):
        Tokens(values, ids, keep)


@pytest.mark.parametrize(
    ("images", "numbers"),
    [
        (1, [1]),
        (-1, [2]),
        (np.int64(1), [1]),
        (torch.tensor(1), [1]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (torch.tensor([True, False, True]), [0, 2]),
        (torch.tensor([1, 1]), [1, 1]),
    ],
)
def test_images_of_a_batch(images, numbers):
    tokens = full().truncate([2, 4, 6])
    some = tokens[images]
    assert some.lengths.tolist() == [[2, 4, 6][number] for number in numbers]
    for row, number in enumerate(numbers):
        assert torch.equal(some.ids[row], tokens.ids[number])
        assert torch.equal(some.values_BND[row], tokens.values_BND[number])


def test_a_batch_can_be_gone_through_image_by_image():
    assert [int(image.lengths) for image in full().truncate([2, 4, 6])] == [2, 4, 6]
    with pytest.raises(IndexError):
        full()[3]
