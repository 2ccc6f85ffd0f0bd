"""Where pictures come from, written as one line of text.

photos/                        a folder (labels from sub-folders, or from its meta.jsonl)
photos/#train                  only the rows of meta.jsonl with split=train (`#split=train` means the same)
shards/{000..012}.tar          WebDataset shards; a folder of .tar files works too
hf:NAME, hf:NAME:SPLIT         a Hugging Face dataset by name or folder
builtin:birds:heldout          a built-in set, fetched at the first use; SPLIT is train (if none), heldout or all
0.6*builtin:groceries + 0.4*photos/    a mix; the weights are shares of the pictures shown
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

from openflextok.data.base import Example, ImageSource, Words, class_names
from openflextok.data.builtin import fetch, find_set
from openflextok.data.folders import META, FolderSource
from openflextok.data.huggingface import HuggingFaceSource, on_disk
from openflextok.data.mix import CachedSource, MixSource, keep_in_memory
from openflextok.data.shards import ShardSource, expand_braces

__all__ = [
    "CachedSource",
    "Example",
    "FolderSource",
    "HuggingFaceSource",
    "ImageSource",
    "MixSource",
    "ShardSource",
    "Words",
    "class_names",
    "keep_in_memory",
    "open_source",
]


logger = logging.getLogger(__name__)
OURS = {"job.json": "a set of tokens", "recipe.json": "the folder of a training"}  # they hold pictures to look at


def open_source(spec: str) -> ImageSource:
    """The source that a line of text describes; the forms are those at the top of this file.

    Raises ValueError with the form that is not understood, or FetchError when a built-in set cannot be fetched.
    """
    parts = [_weighted(part) for part in spec.split(" + ")]
    if len(parts) == 1 and parts[0][0] is None:
        return _open_one(parts[0][1])
    missing = [place for weight, place in parts if weight is None]
    if missing:
        raise ValueError(f"no weight before {missing[0]!r} in {spec!r}: write each part of a mix as 0.5*{missing[0]}")
    return MixSource([_open_one(place) for _, place in parts], [weight for weight, _ in parts if weight is not None])


def _weighted(part: str) -> tuple[float | None, str]:
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*\*\s*(.*)", part, re.DOTALL)
    weight, place = (float(match[1]), match[2].strip()) if match else (None, part.strip())
    if not place:
        raise ValueError("an empty place for pictures: give a folder, .tar shards, hf:NAME or builtin:NAME")
    return weight, place


def _open_one(place: str) -> ImageSource:
    scheme, colon, rest = place.partition(":")
    if colon and scheme in SCHEMES:
        name, _, split = rest.partition(":")
        return SCHEMES[scheme](name, split or None)
    if place.endswith(".tar"):
        return ShardSource(expand_braces(place))
    path, split = _path_and_split(place)
    if not path.is_dir():
        problem = "a file, not a folder" if path.is_file() else "no such folder"
        raise ValueError(f"{place}: {problem}; give a folder, .tar shards, hf:NAME or builtin:NAME")
    return _open_folder(path, split)


def _path_and_split(place: str) -> tuple[Path, str | None]:
    if "#" not in place or Path(place).is_dir():
        return Path(place).expanduser(), None
    path, _, split = place.rpartition("#")
    return Path(path).expanduser(), split.removeprefix("split=") or None


def _open_folder(path: Path, split: str | None) -> ImageSource:
    if on_disk(path):
        return HuggingFaceSource(str(path), split)
    shards = sorted(path.glob("*.tar"))
    if shards and split is None and not (path / META).is_file():
        return ShardSource(shards)
    for name, what in OURS.items():
        if (path / name).is_file() and not (path / META).is_file():
            raise ValueError(f"{path} is {what}, not a folder of pictures: give the pictures themselves")
    source = FolderSource(path, split)
    if split is None and len(source.splits) > 1:
        known = sorted(source.splits)
        logger.warning(
            "%s: pictures of all splits are taken (%s); %s#%s takes one", path, ", ".join(known), path, known[-1]
        )
    return source


def _open_builtin(name: str, split: str | None) -> ImageSource:
    chosen = split or find_set(name).default_split
    return FolderSource(fetch(name), None if chosen == "all" else chosen)


SCHEMES: dict[str, Callable[[str, str | None], ImageSource]] = {"hf": HuggingFaceSource, "builtin": _open_builtin}
