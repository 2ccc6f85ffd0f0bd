"""WebDataset shards: plain .tar files in which neighbours with one stem belong together, read in any order.

000.tar:  dog1.jpg  dog1.cls ("dog")  dog1.txt ("a dog in snow")  cat7.jpg  cat7.json ({"label": "cat", ..})
"""

from __future__ import annotations

import json
import logging
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from openflextok.data.base import IMAGE_SUFFIXES, ImageSource, Texts, Words

logger = logging.getLogger(__name__)

SIDE_CARS = ("cls", "txt", "json")
FIELDS = ("image", *SIDE_CARS)  # columns of the index: offset and size of each in its shard


@dataclass
class _Index:
    keys: list[str] = field(default_factory=list)
    shards: list[int] = field(default_factory=list)
    places: list[list[tuple[int, int]]] = field(default_factory=list)


class ShardSource(ImageSource):
    """The pictures of one or more .tar shards, found by an index of offsets that is built once, when it is opened."""

    def __init__(self, paths: Sequence[Path | str]) -> None:
        """paths: plain .tar files. Raises ValueError when one is missing or compressed, or none holds a picture."""
        self.paths = tuple(Path(path).expanduser() for path in paths)
        self.damage: list[str] = []
        """One line for each shard of which pictures may be missing."""
        index = _Index()
        for number, path in enumerate(self.paths):
            self.damage += _scan(path, number, index)
        for line in self.damage:
            logger.warning(line)
        if not index.keys:
            names = ", ".join(path.name for path in self.paths[:3])
            raise ValueError(f"no pictures in {len(self.paths)} shards ({names}); expected members such as 000001.jpg")
        self._keys = Texts(index.keys)
        self._shards = np.array(index.shards, dtype=np.int32)
        self._places = np.array(index.places, dtype=np.int64)  # (pictures, FIELDS, offset and size)

    def __len__(self) -> int:
        return len(self._keys)

    def sizes(self) -> list[int]:
        """How many pictures each shard holds."""
        return np.bincount(self._shards, minlength=len(self.paths)).tolist()

    def name(self, index: int) -> str:
        return f"{self.paths[self._shards[index]].name}:{self._keys[index]}"

    def picture(self, index: int) -> bytes:
        return self._read(index, "image")

    def words(self, index: int) -> Words:
        label, caption = (self._text(index, kind) for kind in ("cls", "txt"))
        extra = self._json(index)
        return Words(
            label or _first(extra, ("label", "class", "class_name")), caption or _first(extra, ("caption", "text"))
        )

    def _read(self, index: int, kind: str) -> bytes:
        offset, size = self._places[index, FIELDS.index(kind)].tolist()
        if size == 0:
            return b""
        with self.paths[self._shards[index]].open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def _text(self, index: int, kind: str) -> str | None:
        return self._read(index, kind).decode("utf-8", "replace").strip() or None

    def _json(self, index: int) -> dict:
        try:
            found = json.loads(self._text(index, "json") or "{}")
        except json.JSONDecodeError:
            logger.warning("%s: its .json cannot be read; label and caption are taken as missing", self.name(index))
            return {}
        return found if isinstance(found, dict) else {}


def _first(values: dict, names: Sequence[str]) -> str | None:
    return next((str(values[name]) for name in names if values.get(name) is not None), None)


def _scan(path: Path, number: int, index: _Index) -> list[str]:
    """Add the pictures of a shard to the index -> what may be missing, in words."""
    damage: list[str] = []
    more: list[str] = []
    for key, members in groupby(_members(path, damage), key=lambda member: member[0]):
        found: dict[str, tuple[int, int]] = {}
        pictures: list[str] = []
        for _, extension, offset, size in members:
            is_picture = f".{extension.rsplit('.')[-1]}" in IMAGE_SUFFIXES
            pictures += [f"{key}.{extension}"] if is_picture else []
            found.setdefault("image" if is_picture else extension, (offset, size))
        more += pictures[1:]
        if pictures:
            index.keys.append(key)
            index.shards.append(number)
            index.places.append([found.get(kind, (0, 0)) for kind in FIELDS])
    if more:
        damage.append(
            f"{path}: {len(more)} pictures are left out, such as {more[0]}: up to its first dot its name is that of "
            "another, and WebDataset takes both for one sample; rename them"
        )
    return damage


def _members(path: Path, damage: list[str]) -> Iterator[tuple[str, str, int, int]]:
    """(key, extension, offset, size) of each file; a shard that ends too early gives what it holds, and adds to `damage`."""
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                if info.isfile():
                    folder, _, base = info.name.rpartition("/")
                    stem, _, extension = base.partition(".")
                    yield f"{folder}/{stem}".lstrip("/"), extension.lower(), info.offset_data, info.size
            if not _ends(path, archive.offset):
                damage.append(f"{path}: damaged or cut off; only the pictures before the damage are used")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such shard; check the path and the numbers in the braces") from None
    except tarfile.ReadError as error:
        if path.stat().st_size and not _is_tar(path):
            raise ValueError(f"{path}: not a plain .tar file; unpack compressed ones (gunzip) first") from None
        damage.append(f"{path}: damaged ({error}); only the pictures before the damage are used")


def _ends(path: Path, offset: int) -> bool:
    """Whether the mark of its end, blocks of zeros, and nothing else follows where tarfile stopped reading."""
    with path.open("rb") as file:
        file.seek(offset)
        mark = file.read(tarfile.BLOCKSIZE)
        return len(mark) == tarfile.BLOCKSIZE and not any(map(any, (mark, *iter(lambda: file.read(1 << 16), b""))))


def _is_tar(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(512)[257:262] == b"ustar"


def expand_braces(pattern: str) -> list[str]:
    """`a{00..02}.tar` -> a00.tar a01.tar a02.tar; `{x,y}.tar` -> x.tar y.tar; several braces multiply."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    inside, (start, end) = match[1], match.span()
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if numbers:
        low, high = numbers.groups()
        choices = [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    else:
        choices = inside.split(",")
    if not choices:
        raise ValueError(f"{{{inside}}} in {pattern!r} names nothing: write the smaller number first, as {{000..012}}")
    return [whole for choice in choices for whole in expand_braces(pattern[:start] + choice + pattern[end:])]
