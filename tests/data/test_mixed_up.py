"""Folders that hold pictures, but are not what was meant."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

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
