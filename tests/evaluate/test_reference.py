"""A reference set is what the tokenizer sees, in order, whatever the batch."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from openflextok.evaluate.reference import Reference, split_of
from openflextok.evaluate.results import differences
from openflextok.pixels import to_float


@pytest.fixture
def folder(tmp_path):
    """Seven pictures of different shapes, the fourth of them broken."""
    rng = np.random.default_rng(0)
    for number in range(7):
        pixels = rng.integers(0, 256, (20 + number, 30 - number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"not a picture")
    return tmp_path


def pixels(reference: Reference, batch: int, **places: int) -> torch.Tensor:
    return torch.cat([found.pixels_BHWC for found in reference.batches(batch, **places)])


def test_its_crops_are_those_of_the_tokenizer(folder, make_tokenizer):
    reference = Reference(str(folder), (16, 16))
    files = [Image.open(folder / f"{number}.png") for number in (0, 1, 2, 4, 5, 6)]
    seen = make_tokenizer().to_images(files)
    assert torch.equal(to_float(pixels(reference, 4)), seen)


def test_batches_differ_in_nothing_but_their_size(folder):
    reference = Reference(str(folder), (16, 16))
    whole = pixels(reference, 100)
    assert all(torch.equal(pixels(reference, batch), whole) for batch in (1, 2, 3, 4))
    assert torch.equal(torch.cat([pixels(reference, 2, end=4), pixels(reference, 2, start=4)]), whole)
    places = [place for found in reference.batches(2) for place in found.places]
    assert places == [0, 1, 2, 4, 5, 6]


def test_its_digest_is_over_the_pixels_in_order_and_bad_pictures_are_named(folder):
    reference = Reference(str(folder), (16, 16))
    survey, ticks = reference.survey(), []
    assert survey.sha256 == hashlib.sha256(pixels(reference, 1).numpy().tobytes()).hexdigest()
    assert survey.images == 6
    assert len(survey.unreadable) == 1 and "3.png" in survey.unreadable[0]
    reference.survey(tick=ticks.append)
    assert sum(ticks) == 7


def test_a_limit_takes_evenly_spaced_pictures_and_the_split_says_so(folder):
    reference = Reference(str(folder), (16, 16), limit=3)
    names = [name for found in reference.batches(8) for name in found.names]
    assert names == ["0.png", "2.png", "4.png"]
    assert reference.split == "all, 3 of 7 evenly spaced"
    assert Reference(str(folder), (16, 16), limit=7).split == "all"


def test_protocols_differ_where_pixels_do(folder):
    small, large = Reference(str(folder), (16, 16)), Reference(str(folder), (16, 20))
    one, other = (each.protocol("reconstruct", each.survey()) for each in (small, large))
    assert [line.split(":")[0] for line in differences(one, other)] == ["reference_sha256", "image_size"]


def test_impossible_sets_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="impossible"):
        Reference(str(folder), (0, 16))
    for file in folder.glob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="none of 7 pictures can be read; the first: 0.png"):
        Reference(str(folder), (16, 16)).survey()


@pytest.mark.parametrize(
    ("spec", "split"),
    [
        ("photos#heldout", "heldout"),
        ("photos#split=train", "train"),
        ("photos", "all"),
        ("shards/{000..012}.tar", "all"),
        ("hf:name:test", "test"),
        ("hf:name", "all"),
        ("builtin:birds", "train"),
        ("builtin:birds:heldout", "heldout"),
        ("builtin:stdlib-photos", "heldout"),
        ("0.5*a + 0.5*b#heldout", "mixed"),
    ],
)
def test_the_split_is_the_one_that_the_line_names(spec, split):
    assert split_of(spec) == split
