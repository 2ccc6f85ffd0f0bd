"""Outputs never take the place of what a command reads, and wrong names are refused before the work."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from openflextok.cli.generate import generate
from openflextok.cli.outputs import save_png
from openflextok.cli.reconstruct import PHOTOS, demo, reconstruct
from openflextok.cli.report import report
from openflextok.cli.tokens import encode
from openflextok.cli.train import train


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    with Image.open(PHOTOS / "apple.jpg") as picture:
        picture.save(path)
    return path


@pytest.mark.parametrize(
    "command, out, words",
    [
        (lambda photo, out: encode(photo, out=out), "a.png", "would be replaced"),
        (lambda photo, out: encode(photo, out=out), ".", "is a folder"),
        (lambda photo, out: encode(photo, out=out), "tokens.txt", "does not end in .safetensors"),
        (lambda photo, out: demo(photo, out=out), "a.png", "would be replaced"),
        (lambda photo, out: demo(photo, out=out), "b.jpg", "does not end in .png"),
        (lambda photo, out: reconstruct(photo, out=out), ".", "would be replaced"),
        (lambda photo, out: reconstruct(photo, out=out), "a.png", "is a file"),
        (lambda photo, out: generate(out=out), ".", "is a folder"),
        (lambda photo, out: train("toy", data=str(photo.parent), out=out), "a.png", "is a file"),
        (lambda photo, out: train("toy", data=f"{photo.parent}/#train", out=out), ".", "holds the data"),
        (lambda photo, out: report(photo, out=out), "a.png", "would be replaced"),
    ],
)
def test_outputs_over_inputs_and_wrong_names(
    command: Callable[[Path, Path], None], out: str, words: str, photo: Path
) -> None:
    before = photo.read_bytes()
    with pytest.raises(ValueError, match=words):
        command(photo, photo.parent / out)
    assert photo.read_bytes() == before and [path.name for path in photo.parent.iterdir()] == ["a.png"]


def test_pictures_are_written_whole_or_not_at_all(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = photo.read_bytes()

    def stopped(self: Image.Image, path: Path, **options: str) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        save_png(Image.new("RGB", (2, 2)), photo)
    assert photo.read_bytes() == before and [path.name for path in photo.parent.iterdir()] == ["a.png"]
