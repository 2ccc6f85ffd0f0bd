"""`data check` counts what is there."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from openflextok.cli.data import app
from openflextok.data.check import check

sys.path.insert(0, str(Path(__file__).parent))
from pictures import Numbered, png, write, write_tar


def gif() -> bytes:
    file = io.BytesIO()
    Image.new("L", (40, 30)).save(file, "GIF", save_all=True, append_images=[Image.new("L", (40, 30), 9)])
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    write(root / "dog" / "a.png", png(0, 20, 30))
    write(root / "dog" / "b.png", png(1, 40, 50))
    write(root / "cat" / "c.gif", gif())
    write(root / "d.png", png(2, 64, 64)[:500])
    write(root / "e.jpg", b"")
    return root


def test_folder_report(folder: Path) -> None:
    report = check(str(folder), image_size=(32, 32), batch_size=4, workers=3, world=2)
    assert (report.pictures, report.looked_at, len(report.corrupt)) == (5, 5, 2)
    assert report.corrupt[0].startswith("d.png: damaged") and report.corrupt[1].startswith("e.jpg: empty")
    assert (report.width.smallest, report.width.middle, report.width.largest) == (30, 40, 50)
    assert (report.height.smallest, report.height.middle, report.height.largest) == (20, 30, 40)
    assert report.modes == {"PNG RGB": 2, "GIF L animated": 1} or "GIF P animated" in report.modes
    assert (report.smaller, report.labelled, report.classes, report.captioned) == (2, 3, 2, 0)
    assert report.steps_per_epoch == 1.25 and report.shards == ()
    text = str(report)
    assert "unreadable  2" in text and "3 of 5, 2 classes" in text and "2 processes x 2 pictures" in text
    assert "warning     2 pictures are smaller than 32 x 32" in text and "e.jpg: empty" in text


def test_shard_arithmetic(tmp_path: Path) -> None:
    for number, count in enumerate((1, 3, 5)):
        write_tar(tmp_path / f"{number}.tar", {f"{i}.png": png(i) for i in range(count)})
    few = check(str(tmp_path), image_size=(8, 8), batch_size=2, workers=2, world=2)
    assert few.shards == (1, 3, 5)
    assert "3 with 1 / 3 / 5 pictures each; 0.75 per loading process" in str(few)
    assert any("3 shards for 4 loading processes" in line for line in few.warnings())
    assert not check(str(tmp_path), image_size=(8, 8), batch_size=2, workers=3).warnings()


def test_batch_warnings_and_limit() -> None:
    report = check(Numbered(100), image_size=(4, 4), batch_size=101, world=2, limit=10)
    assert report.looked_at == 10 and report.pictures == 100 and report.captioned == 10
    assert [line[:14] for line in report.warnings()] == ["batch size 101"] * 2
    with pytest.raises(ValueError, match="must be 1 or more"):
        check(Numbered(3), batch_size=0)


def test_everything_corrupt() -> None:
    report = check(Numbered(30, frozenset(range(30))))
    assert len(report.corrupt) == 30 and report.width.largest == 0
    assert "... and 10 more" in str(report)


def test_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"exit_on_error": False, "result_action": "return_value"}
    app(["check", str(folder), "--batch-size", "4"], **options)
    assert "pictures    5" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        app(["check", str(folder), "--strict"], **options)
    assert caught.value.code == 1
    app(["fetch"], **options)
    assert "CC-BY-2.0" in capsys.readouterr().out
