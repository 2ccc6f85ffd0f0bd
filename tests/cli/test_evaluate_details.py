"""`openflextok evaluate text` and `faces` on a tiny checkpoint over pixels, with readers of exact pixels."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openflextok import checkpoint
from openflextok.cli.main import app
from openflextok.evaluate.details.boxes import Box, cut
from openflextok.evaluate.details.face_networks import Face, FaceNetworks
from openflextok.evaluate.details.reader import Reading, TextReader
from openflextok.evaluate.report import read_measured, report_page
from openflextok.evaluate.results import Network, read_result

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))
from evaluate_helpers import pictures  # noqa: F401

BOX = Box(2, 2, 14, 9)


class Digests:
    """A reader that reads in every box the digest of its pixels: a word is right where nothing has changed."""

    networks = (Network("reader", "ab" * 32), Network("finder", "cd" * 32))

    def find(self, picture: Image.Image) -> list[Box]:
        return [BOX] if picture.getpixel((0, 0)) > (100, 0, 0) else []  # pyright: ignore[reportOperatorIssue]

    def read(self, picture: Image.Image, box: Box) -> Reading:
        return Reading(hashlib.sha256(cut(picture, box, (12, 7)).tobytes()).hexdigest()[:8], 0.9)


class Colours:
    """A face in every picture, known by its mean colour."""

    networks = (Network("embedder", "ab" * 32), Network("detector", "cd" * 32))

    def find(self, picture: Image.Image) -> list[Face]:
        return [Face(Box(0, 0, 16, 14), ((1, 1), (2, 2)), 0.9)]

    def embed(self, picture: Image.Image, points: object) -> np.ndarray:
        mean = np.asarray(picture, dtype=np.float64).mean((0, 1)) - 127
        return mean / np.linalg.norm(mean)


class Blind:
    networks = Digests.networks

    def find(self, picture: Image.Image) -> list[Box]:
        return []


@pytest.fixture
def command(tmp_path, monkeypatch, make_tokenizer, pictures):  # noqa: F811
    """Runs `openflextok evaluate` on tiny things, in a folder of its own."""
    checkpoint.save(make_tokenizer(), tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TextReader, "load", Digests)
    monkeypatch.setattr(FaceNetworks, "load", Colours)

    def run(*words: str) -> None:
        app(["evaluate", *words, "--lengths", "1,8", "--steps", "2"], result_action="return_value")

    return run


def test_words_of_photos(command, tmp_path, capsys):
    command("text", "tiny", "pictures", "--batch-size", "4")
    result = read_result(tmp_path / "text-tiny-pictures.json")
    words = result.of("space-word_accuracy")[0].images
    assert 0 < words < 9 == result.protocol.images
    assert result.of("space-word_accuracy")[0].value == result.of("original-edit_similarity")[0].value == 1
    assert [(f.length, f.value, f.images) for f in result.of("word_accuracy")] == [(1, 0.0, words), (8, 0.0, words)]
    assert [f.metric for f in result.figures if f.length == 1][:2] == ["word_accuracy", "word_accuracy@1/4"]
    assert result.figures[0].network == Digests.networks[0] and 0 < result.of("edit_similarity")[0].value < 0.6
    out, err = capsys.readouterr()
    assert f"words were found by finder, SHA-256 {'cd' * 32}" in result.notes
    assert f"note: {words} words, found by the reader" in out and "4.png" in err
    measured, refused = read_measured([tmp_path / "text-tiny-pictures.json"])
    page = report_page(measured, refused)
    assert "Words read right, height from 1/4" in page and "tiny: the originals" in page
    command("text", "tiny", "pictures", "--batch-size", "4")
    assert "3 of 3 parts are there already" in capsys.readouterr().out
    assert read_result(tmp_path / "text-tiny-pictures.json") == result


def test_no_words_are_said_with_what_was_looked_at(command, monkeypatch):
    monkeypatch.setattr(TextReader, "load", Blind)
    with pytest.raises(ValueError, match="no words in 9 pictures of pictures at 16 x 16 pixels: .*found by the reader"):
        command("text", "tiny", "pictures")


def test_rendered_words_need_no_data(command, tmp_path, monkeypatch):
    command("text", "tiny", "--words", "1")
    result = read_result(tmp_path / "text-tiny-rendered.json")
    assert result.protocol.reference == "rendered words (seed 0)" and result.protocol.images == 8
    assert [f.metric.partition("@")[2] for f in result.figures[:5]] == ["", "1/16", "1/8", "1/4", "1/2"]
    assert result.of("original-word_accuracy")[0].value == 0  # a digest is no word
    assert not any("finder" in note for note in result.notes)


def test_faces_are_compared_with_themselves_and_with_others(command, tmp_path):
    command("faces", "tiny", "pictures")
    result = read_result(tmp_path / "faces-tiny-pictures.json")
    assert result.of("space-face_similarity")[0].value == pytest.approx(1)
    assert result.of("space-faces_recognised")[0].value == 1
    source = [np.asarray(Image.open(path)) for path in sorted(Path("pictures").rglob("[!4].png"))]
    means = [Colours().embed(Image.fromarray(pixels[:, 2:18]), ()) for pixels in source]
    cosines = np.array([[a @ b for b in means] for a in means])
    others = (cosines.sum() - len(means)) / (len(means) * (len(means) - 1))
    assert result.of("other_faces")[0].value == pytest.approx(others, abs=1e-6)
    assert result.of("face_similarity")[0].value < 0.99 and result.of("face_similarity")[1].images == 9


def test_what_is_missing_is_named(command, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    from openflextok.nets.onnx import OnnxNetwork

    with pytest.raises(
        ImportError, match=r"onnxruntime is not installed, and net needs it: pip install 'openflextok\[eval\]'"
    ):
        OnnxNetwork("net", b"", "")
