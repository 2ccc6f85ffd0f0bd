"""Properties for all lengths, seeds and batches: no image depends on its neighbours."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from openflextok.tokenizer import Tokenizer

few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
N = 8
batches = st.lists(st.integers(0, 1000), min_size=2, max_size=5)  # one number per image
ragged = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, N)), min_size=1, max_size=5)
guidances = st.sampled_from([None, "cfg:3", "apg:7.5"])


@pytest.fixture(params=["mask", "remove"])
def tokenizer(request, make_config, randomise) -> Tokenizer:
    """Milder weights than elsewhere: float32 rounding, which depends on the batch, must not be blown up by guidance."""
    return randomise(Tokenizer(make_config(absence=request.param)), std=0.1)


def test_the_tolerance_is_far_below_what_tokens_do(tokenizer):
    ids = some_ids([1, 2])
    whole, prefix, other = (tokenizer.decode(x, steps=2) for x in (ids, ids[:, :7], ids.flip(0)))
    for changed in (prefix, other):
        assert float((whole - changed).abs().amax(dim=(1, 2, 3)).min()) > 1e-3


def pictures(numbers: list[int]) -> Tensor:
    coarse = [torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(n)) * 2 - 1 for n in numbers]
    return torch.nn.functional.interpolate(torch.cat(coarse), size=(16, 16), mode="bilinear").clamp(-1, 1)


def some_ids(numbers: list[int]) -> Tensor:
    return torch.stack([torch.randint(64_000, (N,), generator=torch.Generator().manual_seed(n)) for n in numbers])


@pytest.mark.parametrize("space", ["pixels", "kl"])
@given(numbers=batches)
@few
def test_ids_are_the_same_alone_and_in_any_batch(space, make_tokenizer, numbers):
    t: Tokenizer = make_tokenizer(space)
    together = t.encode(pictures(numbers)).ids
    for i, number in enumerate(numbers):
        assert torch.equal(t.encode(pictures([number])).ids[0], together[i])


@given(numbers=batches, length=st.integers(1, N), guidance=guidances)
@few
def test_pixels_are_the_same_alone_and_in_any_batch(tokenizer, numbers, length, guidance):
    ids = some_ids(numbers)[:, :length]
    options = {"steps": 2, "guidance": guidance}
    together = tokenizer.decode(ids, seed=numbers, **options)
    for i, number in enumerate(numbers):
        alone = tokenizer.decode(ids[i : i + 1], seed=number, **options)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)


@given(samples=ragged, guidance=guidances)
@few
def test_a_ragged_batch_equals_separate_decodes(tokenizer, samples, guidance):
    numbers, lengths = (list(column) for column in zip(*samples, strict=True))
    ids, options = some_ids(numbers), {"steps": 2, "guidance": guidance}
    together = tokenizer.decode(ids, lengths=lengths, seed=numbers, **options)
    for i, (number, length) in enumerate(samples):
        alone = tokenizer.decode(ids[i : i + 1, :length], seed=number, **options)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)


@given(samples=ragged, data=st.data())
@few
def test_ids_beyond_the_length_do_not_matter(tokenizer, samples, data):
    numbers, lengths = (list(column) for column in zip(*samples, strict=True))
    ids = some_ids(numbers)
    beyond = torch.arange(N)[None] >= torch.tensor(lengths)[:, None]
    other = torch.where(beyond, data.draw(st.integers(0, 63_999)), ids)
    first, second = (tokenizer.decode(x, lengths=lengths, seed=1, steps=1) for x in (ids, other))
    assert torch.equal(first, second)


@given(numbers=batches, order=st.randoms(use_true_random=False))
@few
def test_the_order_of_a_batch_does_not_matter(tokenizer, numbers, order):
    ids = some_ids(numbers)
    permutation = list(range(len(numbers)))
    order.shuffle(permutation)
    straight = tokenizer.decode(ids, seed=numbers, steps=1)
    shuffled = tokenizer.decode(ids[permutation], seed=[numbers[i] for i in permutation], steps=1)
    torch.testing.assert_close(shuffled, straight[permutation], rtol=0, atol=1e-5)


@given(numbers=batches, length=st.integers(1, N))
@few
def test_truncating_tokens_equals_slicing_ids(tokenizer, numbers, length):
    tokens = tokenizer.encode(pictures(numbers))
    first = tokenizer.decode(tokens.truncate(length), seed=2, steps=1)
    second = tokenizer.decode(tokens.ids[:, :length], seed=2, steps=1)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
