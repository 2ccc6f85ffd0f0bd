"""The files inside a package (.whl, .tgz, .tar.gz, .deb), read without unpacking them to disk."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60  # bytes before each part of a .deb


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The (name, content) pairs of a package in the order in which they are stored.

    Raises ValueError when the file is of no known package type.
    """
    for suffix, reader in READERS.items():
        if path.name.endswith(suffix):
            return reader(path)
    raise ValueError(f"{path}: not a package that can be opened; the types known are {', '.join(READERS)}")


def _zip_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, archive.read(info)


def _tar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        yield from _stream_members(file)


def _deb_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """A .deb is an ar archive whose part data.tar.* holds the files."""
    with path.open("rb") as file:
        if file.read(len(AR_MAGIC)) != AR_MAGIC:
            raise ValueError(f"{path}: not a Debian package; download it again")
        while header := file.read(AR_HEADER):
            size = int(header[48:58])
            if header.startswith(b"data.tar"):
                yield from _stream_members(file)
                return
            file.seek(size + size % 2, 1)
    raise ValueError(f"{path}: a Debian package without files; download it again")


def _stream_members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for info in archive:
            content = archive.extractfile(info) if info.isfile() else None
            if content is not None:
                yield info.name.removeprefix("./"), content.read()


READERS: dict[str, Callable[[Path], Iterator[tuple[str, bytes]]]] = {
    ".whl": _zip_members,
    ".zip": _zip_members,
    ".tgz": _tar_members,
    ".tar.gz": _tar_members,
    ".deb": _deb_members,
}
