"""Small picture files for the tests of the data layer."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from openflextok.data.base import ImageSource, Words


def noise(height: int = 12, width: int = 16, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(seed: int = 0, height: int = 12, width: int = 16) -> bytes:
    file = io.BytesIO()
    noise(height, width, seed).save(file, "PNG")
    return file.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


class Numbered(ImageSource):
    """`length` pictures of one grey level each: picture i has level i; the numbers in `broken` cannot be read."""

    def __init__(self, length: int, broken: frozenset[int] = frozenset(), size: tuple[int, int] = (10, 8)) -> None:
        self.length, self.broken, self.size = length, broken, size

    def __len__(self) -> int:
        return self.length

    def name(self, index: int) -> str:
        return f"n{index}"

    def words(self, index: int) -> Words:
        return Words(str(index % 3), f"number {index}")

    def picture(self, index: int) -> bytes | Image.Image:
        return b"" if index in self.broken else Image.new("RGB", self.size, (index % 256,) * 3)
