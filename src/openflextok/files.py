"""Files that are written whole or not at all: temporary name, fsync, rename."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; it becomes `path` when the body ends well, and disappears otherwise.

    It lies in a folder of its own, because safetensors puts a temporary file of its own beside what it writes.
    A link stays one: what it points to is replaced. Errors: OSError, of safetensors too.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = _temporary(path)
    folder.mkdir()
    temporary = folder / path.name
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives a temporary folder to fill; it takes the place of `path`, or of what `path` links to, when the body ends well.

    Errors: FileExistsError where `path` is a file; OSError, of safetensors too.
    """
    path = path.resolve()
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file: give a folder, or a name that is free")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    retired = temporary.with_name(temporary.name.replace(".tmp-", ".old-"))
    temporary.mkdir()
    try:
        yield temporary
        for inside in [*temporary.rglob("*"), temporary]:
            _sync(inside)
        if path.exists():
            os.replace(path, retired)
        try:
            os.replace(temporary, path)
        except OSError:
            if retired.exists():
                os.replace(retired, path)
            raise
        _sync(path.parent)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Of what is temporary in a folder, that of writers known to be gone: processes of this machine that run no more."""
    for path in folder.glob(".*.tmp-*"):
        writer = re.search(r"\.tmp-(.+)-(\d+)-[0-9a-f]{8}$", path.name)
        if writer and writer[1] == socket.gethostname() and not _runs(int(writer[2])):
            shutil.rmtree(path, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """A name beside `path` that nobody else takes, and that says who took it."""
    writer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name}.tmp-{writer}")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _sync(path: Path) -> None:
    """Flush to the disk; files get the permissions that new files usually get (safetensors writes 0600)."""
    if path.is_file():
        umask = os.umask(0)
        os.umask(umask)
        path.chmod(0o666 & ~umask)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
