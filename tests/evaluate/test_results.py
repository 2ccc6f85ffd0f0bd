"""Results are read as they were written, and protocols name how they differ."""

from dataclasses import replace

import pytest

from openflextok.evaluate.results import (
    Figure,
    Network,
    Protocol,
    Result,
    ResultError,
    Setting,
    Subject,
    differences,
    read_result,
    write_result,
)

PROTOCOL = Protocol(
    "reconstruct", "photos#heldout", "heldout", "ab" * 32, 3, 3, (32, 48), "centre", "bicubic", "uint8", "0.1.0"
)
RESULT = Result(
    PROTOCOL,
    Subject("mini", "tokenizer", "0123456789abcdef", (Setting("steps", "20"),)),
    (
        Figure("psnr", 12.5, 3, 12.0, 13.0, length=8, bytes=16.0),
        Figure("psnr", 11.5, 3, length=1),
        Figure("frechet", 80.0, 3, spread=0.5, network=Network("mobilenet-v2", "cd" * 32)),
    ),
    notes=("few images",),
    pictures="mini.webp",
)


def test_a_result_is_read_as_it_was_written(tmp_path):
    write_result(tmp_path / "r.json", RESULT)
    assert read_result(tmp_path / "r.json") == RESULT


def test_figures_of_a_metric_come_by_length():
    assert [figure.length for figure in RESULT.of("psnr")] == [1, 8]


def test_equal_protocols_have_no_differences_and_others_name_them():
    assert differences(PROTOCOL, replace(PROTOCOL)) == ()
    other = replace(PROTOCOL, crop="random", images=2)
    assert differences(PROTOCOL, other) == ("images: 3 against 2", "crop: 'centre' against 'random'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "not a result"),
        ("{", "cannot be read"),
        ('{"format": "openflextok-result-1", "figures": []}', "'protocol' is missing"),
    ],
)
def test_other_files_are_refused_with_their_name(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ResultError, match=message) as error:
        read_result(tmp_path / "x.json")
    assert "x.json" in str(error.value)
