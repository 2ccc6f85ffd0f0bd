"""`openflextok evaluate codecs` and `openflextok report`, one after the other."""

import sys

import pytest
from PIL import Image

from openflextok.cli.evaluate_codecs import codecs
from openflextok.cli.reconstruct import PHOTOS
from openflextok.cli.report import report
from openflextok.evaluate.results import read_result


def test_codecs_are_measured_and_reported_and_an_absent_one_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    codecs(
        str(PHOTOS), image_size=32, codecs="webp,jxl", qualities="5,80", shrinks="1", metrics="psnr",
        limit=2, out=tmp_path,
    )  # fmt: skip
    said = capsys.readouterr()
    assert "JPEG XL was not measured" in said.err and "WebP: 2 points" in said.out
    result = read_result(tmp_path / "codec-webp.json")
    assert any("JPEG XL was not measured" in note for note in result.notes)
    with Image.open(tmp_path / result.pictures) as picture:
        assert picture.format == "WEBP"

    (tmp_path / "notes.json").write_text("{}")
    report(*tmp_path.glob("*.json"), out=tmp_path / "report.html")
    said = capsys.readouterr()
    assert "1 result under 1 protocol" in said.out and "notes.json is not a result" in said.err
    page = (tmp_path / "report.html").read_text()
    assert "JPEG XL was not measured" in page and "data:image/webp;base64," in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "frechet"}, "not of pairs"),
        ({"metrics": "ms-ssim", "codecs": "webp"}, "needs sides of 176 pixels or more, these are 32"),
        ({"codecs": "gif"}, "no codec 'gif'"),
        ({"codecs": "jxl"}, "no codec of 'jxl' can be measured here"),
        ({"qualities": "200"}, "0 <= quality <= 100"),
        ({"shrinks": "0"}, "cannot shrink"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_read(tmp_path, monkeypatch, options, message):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(ValueError, match=message):
        codecs(str(PHOTOS), image_size=32, out=tmp_path / "results", **options)
    assert not (tmp_path / "results").exists()
