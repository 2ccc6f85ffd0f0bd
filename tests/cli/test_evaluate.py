"""`openflextok evaluate` on a tiny checkpoint: files, table, warnings, going on, and one line for each mistake."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from openflextok import checkpoint
from openflextok.cli.evaluate import numbers, short_name
from openflextok.cli.main import app
from openflextok.evaluate.results import read_result

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))
from evaluate_helpers import pictures, quarters_network  # noqa: F401


@pytest.fixture
def command(tmp_path, monkeypatch, make_tokenizer, pictures, quarters_network):  # noqa: F811
    """Runs `openflextok evaluate reconstruct` on tiny things, in a folder of its own, with further words."""
    checkpoint.save(make_tokenizer(), tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> None:
        metrics = ("--metrics", "psnr,frechet,codes", "--networks", "quarters")
        app(
            ["evaluate", "reconstruct", "tiny", "pictures", "--steps", "2", *metrics, *words],
            result_action="return_value",
        )

    return run


def test_it_writes_a_result_with_pictures_and_goes_on(command, tmp_path, capsys):
    command("--lengths", "1,8", "--batch-size", "4")
    out, err = capsys.readouterr()
    result = read_result(tmp_path / "reconstruct-tiny-pictures.json")
    assert result.protocol.reference == "pictures" and result.protocol.images == 9
    assert {s.name: s.value for s in result.subject.settings}["guidance"].startswith("the decoder's own: ")
    assert [figure.length for figure in result.of("psnr")] == [1, 8]
    assert (tmp_path / result.pictures).stat().st_size > 0
    assert "frechet (quarters)" in out and "skipped:" in err and "4.png" in err
    assert any("4.png" in note for note in result.notes)
    command("--lengths", "1,8", "--batch-size", "4")
    assert "3 of 3 parts are there already" in capsys.readouterr().out
    with pytest.raises(ValueError, match="different in .*lengths"):
        command("--lengths", "1", "--batch-size", "4")


def test_few_images_are_warned_of_before_the_work(command, capsys):
    command("--lengths", "1", "--limit", "3", "--out", "few.json")
    assert "warning: frechet of quarters: 3 images for 4 features" in capsys.readouterr().err


def test_mistakes_are_named():
    assert numbers("1, 2,4", "lengths") == (1, 2, 4)
    for text in ("", "1,x", "-1"):
        with pytest.raises(ValueError, match="give whole numbers"):
            numbers(text, "lengths")
    assert short_name("some/where/data#held out") == "data-held-out"
    assert short_name("runs/one/model") == "one" and short_name("runs/two/model/") == "two"
    assert short_name("photos/#train") == "photos-train" and short_name("Fotos von Äpfeln") == "Fotos-von-Äpfeln"
    assert short_name("/") == "unnamed"


def test_a_result_of_another_measurement_is_not_replaced(command, tmp_path, capsys):
    command("--lengths", "1", "--limit", "3", "--out", "r.json")
    before = (tmp_path / "r.json").read_bytes()
    shutil.rmtree(tmp_path / "r.parts")
    with pytest.raises(ValueError, match="r.json is the result of another measurement, different in .*decode seeds"):
        command("--lengths", "1", "--limit", "3", "--seeds", "1", "--out", "r.json")
    assert (tmp_path / "r.json").read_bytes() == before
    command("--lengths", "1", "--limit", "3", "--out", "r.json")  # the same, once more
