"""The generator against its oracles: the uncached forward, the training loss, closed forms, itself alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_generators import CLASSES, KINDS, conditioner, small, wanted

from openflextok.generators.generator import _Run
from openflextok.types import Draws, Tokens

DIGITS = [(), (12, 5)]


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize("kind", KINDS)
def test_cached_logits_equal_those_of_the_whole_forward(
    kind: str, digits: tuple[int, ...], encoder_folder: Path
) -> None:
    made = small(conditioner(kind, encoder_folder), digits)
    prepared = made._prepare(**{"labels": None, "captions": None, "count": 3} | wanted(made))
    ids = torch.randint(60, (3, 8), generator=torch.Generator().manual_seed(0))
    rows = made.vocabulary.split(ids)
    expected = made.logits(rows, prepared)
    run = _Run(made, prepared, guided=False, steps=rows.shape[1], cache=True)
    for step in range(rows.shape[1]):
        torch.testing.assert_close(run.guided_logits(1.0), expected[:, step], atol=1e-5, rtol=1e-5)
        run.append(rows[:, step])


@pytest.mark.parametrize("kind", KINDS)
def test_no_logit_sees_what_comes_after_it(kind: str, encoder_folder: Path) -> None:
    made = small(conditioner(kind, encoder_folder))
    prepared = made._prepare(**{"labels": None, "captions": None, "count": 3} | wanted(made))
    ids = torch.randint(60, (3, 8), generator=torch.Generator().manual_seed(0))
    before = made.logits(ids, prepared)
    for place in range(8):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % 60
        after = made.logits(changed, prepared)
        assert torch.equal(after[:, : place + 1], before[:, : place + 1])
        assert place == 7 or not torch.allclose(after[:, place + 1], before[:, place + 1])


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize("kind", KINDS)
def test_sampling_with_and_without_cache_gives_the_same_ids(
    kind: str, digits: tuple[int, ...], encoder_folder: Path
) -> None:
    made = small(conditioner(kind, encoder_folder), digits)
    for options in ({"temperature": 0.0}, {"guidance": 2.0}, {"guidance": [1, 2, 3, 4, 5, 6, 7, 8], "top_k": 7}):
        cached = made.sample(**wanted(made), **options)
        assert torch.equal(cached, made.sample(**wanted(made), cache=False, **options))
        assert cached.shape == (3, 8) and cached.min() >= 0 and cached.max() < 60


@pytest.mark.parametrize("kind", KINDS)
def test_samples_do_not_depend_on_their_batch(kind: str, encoder_folder: Path) -> None:
    made = small(conditioner(kind, encoder_folder), (12, 5))
    given = wanted(made)
    together = made.sample(**given, seed=[7, 8, 2**40], guidance=1.7)
    for i, seed in enumerate((7, 8, 2**40)):
        alone = made.sample(**{name: words[i : i + 1] for name, words in given.items()}, seed=[seed], guidance=1.7)
        assert torch.equal(alone[0], together[i])
    numbered = made.sample(**given, seed=7, guidance=1.7)
    assert torch.equal(numbered[:2], together[:2])  # one number: sample i gets seed + i


@pytest.mark.parametrize("kind", KINDS)
def test_the_condition_counts(kind: str, encoder_folder: Path) -> None:
    made = small(conditioner(kind, encoder_folder))
    ids = torch.randint(60, (1, 8), generator=torch.Generator().manual_seed(0)).expand(3, -1)
    scores = made.score(ids, **wanted(made))
    assert all(not torch.allclose(scores[i], scores[j]) for i, j in ((0, 1), (1, 2), (0, 2)))


def test_guidance_is_the_closed_form_of_both_passes() -> None:
    made = small()
    both = _Run(made, made.conditioner.prepare(["apple", "cherry"]), guided=True, steps=8, cache=True)
    conditional = made.logits(torch.zeros(2, 1, dtype=torch.int64), made.conditioner.prepare(["apple", "cherry"]))[:, 0]
    null = made.logits(torch.zeros(2, 1, dtype=torch.int64), made.conditioner.prepare([None, None]))[:, 0]
    torch.testing.assert_close(both.guided_logits(3.0), null + 3 * (conditional - null), atol=1e-5, rtol=1e-5)


def test_guidance_of_one_is_the_conditional_pass() -> None:
    made = small(digits=(12, 5))
    rows = made.conditioner.prepare(["apple"])
    guided = _Run(made, rows, guided=True, steps=16, cache=True).guided_logits(1.0)
    torch.testing.assert_close(guided, _Run(made, rows, guided=False, steps=16, cache=True).guided_logits(1.0))
    one = made.sample(["apple", "banana"], guidance=1.0)
    assert torch.equal(one, made.sample(["apple", "banana"], guidance=[1.0] * 8))
    assert not torch.equal(one, made.sample(["apple", "banana"], guidance=4.0))


def test_guidance_of_zero_forgets_the_condition() -> None:
    made = small()
    assert torch.equal(made.sample(["apple"], guidance=0.0), made.sample([None], guidance=1.0))


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize("kind", KINDS)
def test_scores_add_up_to_the_loss(kind: str, digits: tuple[int, ...], encoder_folder: Path) -> None:
    made = small(conditioner(kind, encoder_folder), digits)
    ids = torch.randint(60, (3, 8), generator=torch.Generator().manual_seed(0))
    prepared = made._prepare(**{"labels": None, "captions": None, "count": 3} | wanted(made))
    losses = made.losses(ids, prepared)
    scores = made.score(ids, **wanted(made))
    assert scores.shape == (3, 8)
    steps = 8 * len(made.vocabulary.digits)
    torch.testing.assert_close(-scores.sum(1).mean(), losses.terms["cross_entropy"] * steps)
    torch.testing.assert_close(losses.metrics["bits_per_token"], -scores.mean() / torch.log(torch.tensor(2.0)))
    torch.testing.assert_close(losses.metrics["bits_first_token"], -scores[:, 0].mean() / torch.log(torch.tensor(2.0)))


def test_scores_of_a_prefix_are_the_prefix_of_the_scores() -> None:
    made = small(digits=(12, 5))
    ids = torch.randint(60, (2, 8), generator=torch.Generator().manual_seed(0))
    whole = made.score(ids, ["apple", None])
    torch.testing.assert_close(made.score(ids[:, :3], ["apple", None]), whole[:, :3])


def test_likelier_tokens_are_drawn_more_often() -> None:
    """The share of each first token among many samples is its probability over the rows that may come."""
    made = small(std=0.15)
    first = made.sample(["banana"] * 4000, length=1, guidance=1.0)[:, 0]
    ids = torch.arange(60)[:, None]
    probability = made.score(ids, ["banana"] * 60)[:, 0].double().exp()
    probability /= probability.sum()
    share = torch.bincount(first, minlength=60) / 4000
    error = (probability * (1 - probability) / 4000).sqrt()
    assert bool(((share - probability).abs() < 5 * error + 1e-4).all())


def test_a_stream_gives_every_prefix_of_the_sample() -> None:
    made = small(digits=(12, 5))
    parts = list(made.stream(["apple", "cherry"], length=5))
    assert [part.shape for part in parts] == [(2, n) for n in range(1, 6)]
    assert all(torch.equal(part, parts[-1][:, : part.shape[1]]) for part in parts)
    assert torch.equal(
        parts[-1], made.sample(["apple", "cherry"])[:, :5]
    )  # a shorter sample is a prefix of a longer one


def test_bf16_samples_are_ids() -> None:
    made = small(digits=(12, 5)).to(torch.bfloat16)
    ids = made.sample(["apple"], guidance=3.0)
    assert ids.dtype == torch.int64 and ids.shape == (1, 8)


@pytest.mark.parametrize("kind", ["label_prefix", "text_prefix", "text_cross"])
def test_it_learns_its_training_sequences_by_heart(kind: str, encoder_folder: Path) -> None:
    made = small(conditioner(kind, encoder_folder), (12, 5), std=0.05).requires_grad_(True)
    ids = torch.randint(60, (3, 8), generator=torch.Generator().manual_seed(1))
    prepared = made._prepare(**{"labels": None, "captions": None, "count": 3} | wanted(made))
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    for _ in range(150):
        loss = made.losses(ids, prepared).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02
    assert torch.equal(made.sample(**wanted(made), guidance=1.0, temperature=0.5), ids)


def test_numbers_and_names_are_the_same_labels() -> None:
    made = small()
    assert torch.equal(made.sample([1, 2]), made.sample(["banana", "cherry"]))
    assert made.classes == CLASSES


def test_numbers_of_numpy_are_numbers() -> None:
    made = small(digits=(12, 5))
    expected = made.sample([1, 2], seed=[3, 4], guidance=2.0, length=5)
    for kind in (np.int64, np.uint8):
        numbers = {"labels": np.array([1, 2], kind), "length": kind(5)}
        assert torch.equal(made.sample(**numbers, seed=np.array([3, 4], kind), guidance=kind(2)), expected)
        assert torch.equal(made.sample(**numbers, seed=kind(3), guidance=np.float32(2)), expected)
    assert torch.equal(made.sample([1, 2], seed=np.int64(2**40)), made.sample([1, 2], seed=2**40))


def test_a_stream_refuses_wrong_arguments_when_it_is_called() -> None:
    for wrong in ({"labels": [7]}, {"length": 9}, {"count": 0}, {"top_k": 0}, {"guidance": -1}, {"seed": [1, 2]}):
        with pytest.raises(ValueError):
            small().stream(**wrong)  # nothing is asked of it


def test_without_conditions_a_count_is_enough() -> None:
    made = small()
    assert torch.equal(made.sample(count=3), made.sample([None, None, None]))
    assert made.sample().shape == (1, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["aple"]}, r"unknown label 'aple'; did you mean 'apple'\?"),
        ({"labels": [3]}, r"label 3 is not a class: give a name, or a number with 0 <= label < 3"),
        ({"labels": [-1]}, r"label -1 is not a class"),
        ({"labels": [True]}, r"label True is not a class"),
        ({"labels": []}, r"got 0 labels"),
        ({"labels": "apple"}, r"labels is 'apple': give a list, as labels=\['apple'\]"),
        ({"labels": 2}, r"labels is 2: give a list, as labels=\[2\]"),
        ({"labels": ["apple"], "count": 2}, r"got 1 labels for 2 images"),
        ({"captions": ["a red bus"]}, r"this generator takes labels, not captions"),
        ({"length": 0}, r"cannot make 0 tokens: this generator has 8"),
        ({"length": 9}, r"cannot make 9 tokens: this generator has 8"),
        ({"count": 2, "seed": [1]}, r"got 1 seeds for 2 images"),
        ({"seed": 1.5}, r"seed 1.5 is not a whole number"),
        ({"seed": ["1"]}, r"seed '1' is not a whole number"),
        ({"labels": [np.bool_(True)]}, r"label np.True_ is not a class"),
        ({"labels": [np.int64(3)]}, r"is not a class: give a name, or a number with 0 <= label < 3"),
        ({"length": 2.0}, r"cannot make 2.0 tokens"),
        ({"guidance": [1.0, 2.0]}, r"got 2 guidance scales for 8 tokens"),
        ({"temperature": -1}, r"temperature -1 cannot be used"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().sample(**arguments)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.zeros(1, 9, dtype=torch.int64), r"got 9 tokens: this generator has 8"),
        (torch.full((1, 2), 60), r"id 60 is not a token of this generator \(0 <= id < 60\)"),
        (torch.full((1, 2), -1), r"id -1 is not a token"),
        (torch.zeros(1, 2), r"ids are torch.float32 of shape \(1, 2\): give int64"),
        (torch.zeros(2, dtype=torch.int64), r"ids are torch.int64 of shape \(2,\)"),
    ],
)
def test_wrong_ids(ids: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().score(ids)


def test_tokens_are_scored_as_their_ids() -> None:
    made = small()
    ids_BN = made.sample(count=2)
    tokens = Tokens(ids_BN[..., None].float(), ids_BN, torch.ones_like(ids_BN, dtype=torch.bool))
    assert torch.equal(made.score(tokens.truncate(5)), made.score(ids_BN[:, :5]))
    with pytest.raises(ValueError, match=r"images have \[5, 8\] tokens: truncate all to one length"):
        made.score(tokens.truncate([5, 8]))
    with pytest.raises(ValueError, match="ids are a list: give tokens, or a tensor"):
        made.score(ids_BN.tolist())  # pyright: ignore


def test_draws_are_those_of_the_seeds_alone() -> None:
    """Streams are one uniform number per step: sampling again after other work gives the same."""
    made = small()
    first = made.sample(["apple"], seed=3)
    torch.rand(10)
    Draws([3]).uniform()
    assert torch.equal(first, made.sample(["apple"], seed=3))
    assert not torch.equal(first, made.sample(["apple"], seed=4))
