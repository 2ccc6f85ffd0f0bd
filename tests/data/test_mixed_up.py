"""Folders that hold pictures, but are not what was meant."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from openflextok.data.loader import batches
from openflextok.data.sources import open_source


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "what"), [("job.json", "a set of tokens"), ("recipe.json", "the folder of a training")]
)
def test_our_own_folders_are_no_pictures(name: str, what: str, pictures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pictures, tmp_path / "folder")
    open_source(str(folder))
    (folder / name).write_text("{}")
    with pytest.raises(ValueError, match=f"is {what}, not a folder of pictures"):
        open_source(str(folder))


def test_a_folder_with_splits_taken_whole_is_said(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(pictures, tmp_path / "folder")
    files = sorted(path.name for path in folder.iterdir())
    rows = [{"file": file, "split": "heldout" if i else "train"} for i, file in enumerate(files)]
    (folder / "meta.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(open_source(f"{folder}#train")) == 1 and not caplog.text
    assert len(open_source(str(folder))) == len(files)
    assert "pictures of all splits are taken (heldout, train)" in caplog.text


def test_words_in_another_encoding_are_named_with_their_line(pictures: Path) -> None:
    rows = [json.dumps({"file": "0.png"}).encode(), '{"file": "1.png", "label": "Äpfel"}'.encode("latin-1")]
    (pictures / "meta.jsonl").write_bytes(b"\n".join(rows))
    with pytest.raises(ValueError, match=r"meta.jsonl, line 2: not UTF-8"):
        open_source(str(pictures))


def test_fewer_pictures_than_a_batch_holds_are_said(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = open_source(str(pictures))
    next(batches(source, batch_size=3, image_size=(8, 8)))
    next(batches(source, batch_size=4, image_size=(8, 8), rank=1, world=2))
    assert not caplog.text
    assert len(next(batches(source, batch_size=4, image_size=(8, 8))).keys) == 4
    assert "3 pictures for batches of 4: each batch shows some more than once" in caplog.text
