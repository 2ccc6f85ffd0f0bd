"""What every source of pictures offers: a length, and random access to names, words and pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from openflextok.pixels import ImageError, read_image

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif")
)


@dataclass(frozen=True)
class Words:
    """What is said about a picture; either may be missing."""

    label: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class Example:
    """One picture with its words."""

    key: str
    """Name of the picture within its source."""
    image: Image.Image
    """Upright RGB."""
    label: str | None
    caption: str | None


class ImageSource(ABC):
    """A numbered collection of pictures: reading number i never depends on what was read before."""

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures there are."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The name of picture `index`, for logs."""

    @abstractmethod
    def words(self, index: int) -> Words:
        """Label and caption of picture `index`, without decoding it."""

    @abstractmethod
    def picture(self, index: int) -> Path | bytes | Image.Image:
        """Picture `index` as it is stored: a file, the bytes of one, or an opened image."""

    def read(self, index: int) -> Example:
        """Picture `index` decoded, with its words; raises ImageError with one line when it cannot be read."""
        name = self.name(index)
        try:
            image = read_image(self.picture(index), name)
            words = self.words(index)
        except ImageError:
            raise
        except OSError as error:
            raise ImageError(f"{name}: cannot be read ({error}); check the disk") from None
        return Example(name, image, words.label, words.caption)


class Texts:
    """A read-only list of strings (or None) in one buffer: cheap to hand to worker processes, however long."""

    def __init__(self, texts: Iterable[str | None]) -> None:
        parts = [b"\x00" if text is None else text.encode("utf-8", "surrogatepass") for text in texts]
        self.buffer: bytes | memoryview = b"".join(parts)
        self.ends = np.cumsum([len(part) for part in parts], dtype=np.int64)

    @classmethod
    def of(cls, buffer: bytes | memoryview, ends: np.ndarray) -> Texts:
        """The list with this `buffer` and these `ends` (int64, where each text ends in it), which are not copied."""
        texts = cls(())
        texts.buffer, texts.ends = buffer, ends
        return texts

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str | None:
        if not 0 <= index < len(self.ends):
            raise IndexError(f"no item {index}: there are {len(self.ends)}")
        start = int(self.ends[index - 1]) if index else 0
        part = bytes(self.buffer[start : int(self.ends[index])])
        return None if part == b"\x00" else part.decode("utf-8", "surrogatepass")


def class_names(source: ImageSource) -> tuple[str, ...]:
    """All labels of a source, sorted: the position of a label is its class number."""
    labels = {source.words(index).label for index in range(len(source))}
    return tuple(sorted(label for label in labels if label is not None))
