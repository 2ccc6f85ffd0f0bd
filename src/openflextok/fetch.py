"""One file out of a package registry, by the registry's ordinary client, checked against a pinned SHA-256.

(ecosystem, name, version, sha256) --pip | npm | apt-get--> cache/packages/<ecosystem>-<name>-<version>/<file>

Of several processes that want the same thing at once, one fetches it and the others wait for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from filelock import FileLock

logger = logging.getLogger(__name__)

Ecosystem = Literal["pypi", "npm", "debian"]
TIMEOUT_S = 1800  # for one package: the largest here has 140 MB
REMEDIES = {
    "pip": "check the network and pip's settings",
    "npm": "check the network and npm's settings",
    "apt-get": "check the network, run `apt-get update`, and see that the release has this version",
}


class FetchError(RuntimeError):
    """A package that cannot be had; the message is one line: which one, why, what to do."""


@dataclass(frozen=True)
class Package:
    """One pinned file of a registry."""

    ecosystem: Ecosystem
    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.ecosystem} package {self.name} {self.version}"


def cache_folder() -> Path:
    """Where fetched things are kept: $OPENFLEXTOK_CACHE, or ~/.cache/openflextok."""
    return Path(os.environ.get("OPENFLEXTOK_CACHE") or Path.home() / ".cache" / "openflextok")


def fetch_package(ecosystem: Ecosystem, name: str, version: str, sha256: str, cache: Path | None = None) -> Path:
    """The path of one package file: from the cache, or downloaded, checked and stored whole or not at all.

    sha256: 64 hexadecimal digits of the file wanted (for pypi it also picks the wheel or the source archive).
    cache: the folder to keep it in; none means `cache_folder()`.
    Raises FetchError when the client is missing or fails (no network, no such package) or the checksum differs.
    """
    package = Package(ecosystem, name, version, sha256.lower())
    if ecosystem not in CLIENTS:
        raise FetchError(f"cannot fetch from {ecosystem!r}: the registries known are {', '.join(CLIENTS)}")
    folder = (cache or cache_folder()) / "packages" / _folder_name(package)
    stored = _stored(package, folder)
    if stored is not None:
        return stored
    with one_at_a_time(folder.name, cache):
        return _stored(package, folder) or _download(package, folder)


@contextmanager
def one_at_a_time(what: str, cache: Path | None = None) -> Iterator[None]:
    """Processes that share the cache enter the body for `what` one after another; the lock of a dead one is free."""
    folder = (cache or cache_folder()) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{what}.lock"):
        yield


def _stored(package: Package, folder: Path) -> Path | None:
    path = _only_file(folder)
    return path if path is not None and _sha256(path) == package.sha256 else None


def _download(package: Package, folder: Path) -> Path:
    logger.info("fetching %s", package)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
        inside = Path(part) / "file"
        inside.mkdir()
        CLIENTS[package.ecosystem](package, inside)
        _verify(package, _only_file(inside))
        _replace_folder(inside, folder)
    path = _only_file(folder)
    if path is None:
        raise FetchError(f"{package}: vanished from {folder} while it was stored; try again")
    return path


def _pip(package: Package, folder: Path) -> None:
    program = [sys.executable, "-m", "pip"] if find_spec("pip") else [_find("pip", "pip3", package=package)]
    with tempfile.TemporaryDirectory() as scratch:  # with the hash given, pip checks before it opens the file
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        options = ["--disable-pip-version-check", "--no-input", "--retries", "2", "--timeout", "30", "--quiet"]
        source = ["--require-hashes", "--no-deps", "--dest", str(folder), "--requirement", str(wanted)]
        _run("pip", [*program, "download", *options, *source], folder, package)


def _npm(package: Package, folder: Path) -> None:
    program = _find("npm", package=package)
    options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=1"]
    _run("npm", [program, "pack", *options, f"{package.name}@{package.version}"], folder, package)


def _apt(package: Package, folder: Path) -> None:
    program = _find("apt-get", package=package)
    _run("apt-get", [program, "download", f"{package.name}={package.version}"], folder, package)


CLIENTS: dict[str, Callable[[Package, Path], None]] = {"pypi": _pip, "npm": _npm, "debian": _apt}


def _find(*names: str, package: Package) -> str:
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise FetchError(f"{package}: the program {names[0]} is not installed; install {names[0]} and try again")
    return found


def _run(client: str, command: list[str], folder: Path, package: Package) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"{package}: {client} did not finish in {TIMEOUT_S} s; check the network") from None
    except OSError as error:
        raise FetchError(f"{package}: {client} cannot be started ({error}); install it again") from None
    if done.returncode == 0:
        return
    said = f"{done.stderr}\n{done.stdout}"
    if "HASHES" in said:
        raise FetchError(f"{package}: the checksum differs from the pinned {package.sha256}; do not use that file")
    raise FetchError(f"{package}: {client} failed: {_reason(said)}; {REMEDIES[client]}")


def _reason(output: str) -> str:
    """The most telling line of a client's output, without addresses, at most 200 characters."""
    lines = [" ".join(re.sub(r"https?://\S+", "the registry", line).split()) for line in output.splitlines()]
    lines = [line for line in lines if line]
    telling = [line for line in lines if re.match(r"(npm )?(error:?|err!|e:) (?!code )", line, re.IGNORECASE)]
    return (telling or lines[-1:] or ["no output"])[0][:200].rstrip(".;: ")


def _verify(package: Package, path: Path | None) -> None:
    if path is None:
        raise FetchError(f"{package}: the client ended well but left no single file; update the client and try again")
    found = _sha256(path)
    if found != package.sha256:
        raise FetchError(f"{package}: SHA-256 is {found}, but {package.sha256} is pinned; do not use that file")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _only_file(folder: Path) -> Path | None:
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return files[0] if len(files) == 1 else None


def _folder_name(package: Package) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{package.ecosystem}-{package.name}-{package.version}")


def _replace_folder(source: Path, target: Path) -> None:
    """Move a finished folder to its place; what lay there (a damaged download) goes."""
    if target.exists():
        shutil.rmtree(target, ignore_errors=True)
    source.replace(target)
