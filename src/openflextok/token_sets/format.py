"""The files of a set of tokens: shards (safetensors, read through a memory map) and the manifest.

DIR/job.json                   the plan
DIR/shard-000000.safetensors   ids (M, K, N), indices (M,), keys, labels and captions (bytes and ends); header: job
DIR/manifest.json              written last: counts, classes, checksums, unreadable pictures
DIR/spot_check.png             a few crops and what their tokens decode to

Shapes: M readable pictures of a shard, K crops of each, N tokens.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from openflextok.data.base import Texts
from openflextok.files import atomic_file
from openflextok.token_sets.plan import Plan

MANIFEST, PICTURE, LOCK = "manifest.json", "spot_check.png", ".lock"
HEADER = "openflextok"  # one entry of metadata: safetensors writes several in random order
DTYPES = {"U8": "u1", "U16": "<u2", "U32": "<u4", "I64": "<i8"}
WORDS = ("keys", "labels", "captions")
REMEDY = "copy it again, or delete it and manifest.json and run the same `openflextok tokenize`"


@dataclass(frozen=True)
class Unreadable:
    """A picture that has no tokens."""

    index: int
    """Its number in the source."""
    reason: str
    """One line with its name."""


@dataclass(frozen=True)
class Shard:
    """The tokens and words of the readable pictures in one range of the source."""

    ids_MKN: np.ndarray
    indices_M: np.ndarray
    """int64: numbers of the pictures in the source."""
    keys: Texts
    labels: Texts
    captions: Texts
    unreadable: tuple[Unreadable, ...]

    def __len__(self) -> int:
        """Rows: pictures x crops."""
        return self.ids_MKN.shape[0] * self.ids_MKN.shape[1]


@dataclass(frozen=True)
class ShardEntry:
    """What the manifest says of a shard."""

    images: int
    """Readable ones."""
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A finished set of tokens."""

    plan: Plan
    rows: int
    """Readable pictures x crops."""
    classes: tuple[str, ...]
    """All labels, sorted."""
    captioned: int
    """Pictures with a caption."""
    shards: tuple[ShardEntry, ...]
    unreadable: tuple[Unreadable, ...]
    spot_checked: int
    """Rows encoded once more at the end."""
    spot_differences: tuple[str, ...]
    """One line for each that came out otherwise."""


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.safetensors"


def write_shard(folder: Path, plan: Plan, number: int, shard: Shard) -> None:
    """Write a shard whole or not at all; the same content gives the same bytes."""
    header = {
        "job": plan.digest(),
        "shard": number,
        "unreadable": [[found.index, found.reason] for found in shard.unreadable],
    }
    tensors: dict[str, np.ndarray] = {"ids": shard.ids_MKN.astype(plan.dtype), "indices": shard.indices_M}
    for name in WORDS:
        texts: Texts = getattr(shard, name)
        tensors |= {name: np.frombuffer(texts.buffer, np.uint8), f"{name}.ends": texts.ends}
    with atomic_file(shard_path(folder, number)) as temporary:
        save_file(tensors, temporary, metadata={HEADER: json.dumps(header)})


def read_shard(folder: Path, plan: Plan, number: int) -> Shard:
    """A shard with its arrays still on the disk (one memory map).

    Raises ValueError with one line where it is missing, cut off, damaged, or of another job.
    """
    path = shard_path(folder, number)
    try:
        raw = np.asarray(np.memmap(path, np.uint8, "r"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: {REMEDY}") from None
    except ValueError:
        raise ValueError(f"{path} is truncated (0 bytes): {REMEDY}") from None
    try:
        start, entries = _entries(raw)
        header = json.loads(entries.pop("__metadata__")[HEADER])
        job, place = header["job"], header["shard"]
        unreadable = tuple(Unreadable(int(index), str(reason)) for index, reason in header["unreadable"])
        end = start + max(entry["data_offsets"][1] for entry in entries.values())
        arrays = {name: _array(raw[start:], entry) for name, entry in entries.items() if len(raw) >= end}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no shard of tokens ({type(error).__name__}: {error}): {REMEDY}") from None
    if len(raw) < end:
        raise ValueError(f"{path} is truncated ({len(raw)} of {end} bytes): {REMEDY}")
    keys, labels, captions = (Texts.of(arrays[name].data, arrays[f"{name}.ends"]) for name in WORDS)
    shard = Shard(arrays["ids"], arrays["indices"], keys, labels, captions, unreadable)
    if (job, place) != (plan.digest(), number):
        raise ValueError(
            f"{path} is shard {place} of job {job}, not shard {number} of job {plan.digest()}: "
            f"it comes from another set of tokens; {REMEDY}"
        )
    images = len(plan.pictures(number)) - len(shard.unreadable)
    if shard.ids_MKN.shape != (images, plan.crops, plan.num_tokens) or shard.ids_MKN.dtype != plan.dtype:
        have = f"{shard.ids_MKN.dtype} {shard.ids_MKN.shape}"
        raise ValueError(f"{path} holds ids {have}, not {(images, plan.crops, plan.num_tokens)}: {REMEDY}")
    return shard


def _entries(raw: np.ndarray) -> tuple[int, dict[str, Any]]:
    """Where the tensors of a safetensors file begin, and its header."""
    size = int.from_bytes(raw[:8].tobytes(), "little")
    return 8 + size, json.loads(raw[8 : 8 + size].tobytes().decode())


def _array(data: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    start, end = entry["data_offsets"]
    return data[start:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])


def check_ids(folder: Path, plan: Plan, number: int, shard: Shard) -> None:
    """Refuses ids that the codebook does not have."""
    largest = int(shard.ids_MKN.max(initial=0))
    if largest >= plan.codebook_size:
        allowed = f"0 <= id < {plan.codebook_size}"
        raise ValueError(f"{shard_path(folder, number)} holds id {largest} beyond the codebook ({allowed}): {REMEDY}")


@dataclass(frozen=True)
class Summary:
    """What the manifest needs to know of one shard."""

    entry: ShardEntry
    labels: frozenset[str]
    captioned: int
    unreadable: tuple[Unreadable, ...]


def summarise(folder: Path, plan: Plan, number: int) -> Summary:
    """Read a whole shard that was made for the plan."""
    shard, path = read_shard(folder, plan, number), shard_path(folder, number)
    check_ids(folder, plan, number, shard)
    places = range(len(shard.indices_M))
    labels = {shard.labels[place] for place in places} - {None}
    captioned = sum(shard.captions[place] is not None for place in places)
    entry = ShardEntry(len(places), path.stat().st_size, _sha256(path))
    return Summary(entry, frozenset(map(str, labels)), captioned, shard.unreadable)


def check_shard(folder: Path, plan: Plan, number: int, entry: ShardEntry, contents: bool) -> None:
    """Refuses a shard that is not the one of the manifest; contents: also read all of it."""
    path = shard_path(folder, number)
    size = path.stat().st_size if path.is_file() else None
    if size is not None and size < entry.bytes:
        raise ValueError(f"{path} is truncated ({size} of {entry.bytes} bytes): {REMEDY}")
    shard = read_shard(folder, plan, number)
    if size != entry.bytes or len(shard.indices_M) != entry.images:
        raise ValueError(f"{path} has {size} bytes, not the {entry.bytes} of the manifest: {REMEDY}")
    if contents:
        check_ids(folder, plan, number, shard)
        found = _sha256(path)
        if found != entry.sha256:
            raise ValueError(f"{path} has the checksum {found[:16]}..., not {entry.sha256[:16]}...: {REMEDY}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
