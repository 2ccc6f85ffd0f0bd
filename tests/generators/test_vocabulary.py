"""Ids and their digits."""

import pytest
import torch

from openflextok.generators.vocabulary import Vocabulary


@pytest.mark.parametrize("digits", [(64_000,), (512, 125), (8, 8, 8, 5, 5, 5)])
def test_every_id_comes_back_and_its_digits_lie_in_their_spans(digits: tuple[int, ...]) -> None:
    vocabulary = Vocabulary(digits, 1000)
    ids = torch.arange(64_000).view(-1, 64)
    rows = vocabulary.split(ids)
    assert torch.equal(vocabulary.join(rows), ids)
    for step in range(rows.shape[1]):
        span = vocabulary.span(step)
        assert span.start <= rows[:, step].min() and rows[:, step].max() < span.stop
        assert span.stop - span.start == digits[step % len(digits)]


def test_digits_of_an_fsq_id_are_its_levels() -> None:
    """FSQ ids are little-endian: the first dimension is the fastest."""
    from openflextok.config import FSQConfig
    from openflextok.quantizers.fsq import FSQ

    levels = (8, 8, 8, 5, 5, 5)
    ids = torch.randint(64_000, (16, 4))
    values = FSQ(FSQConfig(levels)).lookup(ids)
    half = torch.tensor([level // 2 for level in levels])
    expected = (values * half + half).round().long()
    spans = torch.tensor([Vocabulary(levels, 0).span(i).start for i in range(6)])
    assert torch.equal(Vocabulary(levels, 0).split(ids).view(16, 4, 6) - spans, expected)


def test_rows_at_the_papers_size() -> None:
    """64,000 ids + 1,000 classes + 536 special ids = 65,536."""
    vocabulary = Vocabulary((64_000,), 1000)
    assert (vocabulary.codes, vocabulary.special, vocabulary.rows) == (64_000, 65_000, 65_536)
