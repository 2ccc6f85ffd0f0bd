"""A folder of picture files, with or without a `meta.jsonl` that says what they are.

photos/meta.jsonl   {"file": "images/a.jpg", "label": "dog", "caption": "a dog in snow", "split": "train"}
photos/dog/a.jpg    without meta.jsonl: the label is the name of the folder around the picture
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from openflextok.data.base import IMAGE_SUFFIXES, ImageSource, Texts, Words

META = "meta.jsonl"


class FolderSource(ImageSource):
    """All pictures in and below a folder, in the order of `meta.jsonl`, or sorted by path where there is none."""

    def __init__(self, path: Path | str, split: str | None = None) -> None:
        """path: the folder. split: only rows of meta.jsonl with this `split`; none means all.

        `splits` holds the names of all splits in it. Raises ValueError when there are no such pictures, or a row of meta.jsonl cannot be understood.
        """
        self.path = Path(path)
        if not self.path.is_dir():
            raise ValueError(f"{self.path}: no such folder; check the path")
        meta = self.path / META
        if split is not None and not meta.is_file():
            raise ValueError(f"{self.path}: has no {META}, so no split {split!r}; leave the split out")
        self.splits: set[str] = set()
        rows = list(_described(meta, split, self.splits) if meta.is_file() else _found(self.path))
        if not rows and split is not None:
            known = ", ".join(sorted(self.splits))
            raise ValueError(f"{self.path}: has no rows with split={split!r} in {META}; choose from {known}")
        if not rows:
            suffixes = " ".join(sorted(IMAGE_SUFFIXES))
            raise ValueError(f"{self.path}: has no pictures; the suffixes known are {suffixes}")
        files, labels, captions = zip(*rows, strict=True)
        self._files, self._labels, self._captions = Texts(files), Texts(labels), Texts(captions)

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        return str(self._files[index])

    def words(self, index: int) -> Words:
        return Words(self._labels[index], self._captions[index])

    def picture(self, index: int) -> Path:
        return self.path / str(self._files[index])


Row = tuple[str, str | None, str | None]  # file, label, caption


def _described(meta: Path, split: str | None, splits: set[str]) -> Iterator[Row]:
    for row in _rows(meta):
        splits.add(str(row.get("split")))
        if split is None or str(row.get("split")) == split:
            yield row["file"], _text(row.get("label")), _text(row.get("caption"))


def _rows(meta: Path) -> Iterator[dict]:
    with meta.open("rb") as lines:
        yield from (_parse(meta, number, line) for number, line in enumerate(lines, 1) if line.strip())


def _parse(meta: Path, number: int, line: bytes) -> dict:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{meta}, line {number}: not UTF-8; save the file in that encoding") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{meta}, line {number}: not JSON ({error.msg}); write one object per line") from None
    file = row.get("file") if isinstance(row, dict) else None
    if not isinstance(file, str):
        raise ValueError(f'{meta}, line {number}: no "file"; each line needs the path of a picture under that name')
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise ValueError(f"{meta}, line {number}: {file!r} lies outside the folder; give paths below it")
    return row


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _around(here: str, folder: str, name: str) -> bool:
    return here.startswith(os.path.realpath(os.path.join(folder, name)) + os.sep)


def _found(root: Path) -> Iterator[Row]:
    for folder, inner, names in os.walk(root, followlinks=True):
        here = os.path.realpath(folder) + os.sep  # a link to a folder around it would be walked for ever
        inner[:] = sorted(name for name in inner if not name.startswith(".") and not _around(here, folder, name))
        place = Path(folder).relative_to(root)
        for name in sorted(names):
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield str(place / name), place.name or None, None
