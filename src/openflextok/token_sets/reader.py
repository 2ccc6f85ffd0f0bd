"""Reading sets of tokens: rows by number, ids through memory maps.

    open_token_set("DIR") or open_token_set("DIR_A + DIR_B")  ->  TokenSet: ids(rows), label(row), caption(row), key(row)

Shapes: R rows asked for, N tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openflextok.token_sets.format import MANIFEST, Manifest, Shard, check_shard, read_shard
from openflextok.token_sets.plan import FORMAT, JOB, Plan, from_json

OPEN = 1024  # shards whose maps are kept: a process may have some 65,000 maps
THREADS = 8


@dataclass(frozen=True)
class _Place:
    """Where one shard lies."""

    folder: Path
    plan: Plan
    number: int


class TokenSet:
    """Rows of tokens with their words; row = picture x crops + crop, in the order of the source, sets one after another.

    Worker processes may share it: it can be forked, and it is pickled without its maps.
    """

    def __init__(self, parts: Sequence[tuple[Path, Manifest]]) -> None:
        """parts: folders with their manifests, of one tokenizer."""
        self.plans = tuple(manifest.plan for _, manifest in parts)
        first = self.plans[0]
        self.tokenizer, self.fingerprint = first.tokenizer, first.fingerprint
        self.codebook_size, self.num_tokens = first.codebook_size, first.num_tokens
        self.classes: tuple[str, ...] = tuple(sorted({name for _, manifest in parts for name in manifest.classes}))
        """All labels, sorted; empty when there are none."""
        shards = [(folder, m.plan, i, entry) for folder, m in parts for i, entry in enumerate(m.shards)]
        self._places = [_Place(folder, plan, number) for folder, plan, number, _ in shards]
        self._ends = np.cumsum([entry.images * plan.crops for _, plan, _, entry in shards], dtype=np.int64)
        self._open: dict[int, Shard] = {}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def ids(self, rows: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """Token ids of rows, (R, N) int64; IndexError for a row that the set does not have."""
        rows_R = np.asarray(rows, dtype=np.int64).reshape(-1)
        ids_RN = np.empty((len(rows_R), self.num_tokens), np.int64)
        shards_R, inner_R = self._find(rows_R)
        order = np.argsort(shards_R, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(shards_R[order])) + 1):
            if len(group):
                stored = self._shard(int(shards_R[group[0]])).ids_MKN
                ids_RN[group] = stored.reshape(-1, self.num_tokens)[inner_R[group]]
        return torch.from_numpy(ids_RN)

    def label(self, row: int) -> str | None:
        shard, place, _ = self._at(row)
        return shard.labels[place]

    def caption(self, row: int) -> str | None:
        shard, place, _ = self._at(row)
        return shard.captions[place]

    def key(self, row: int) -> str:
        """The name of the picture in the source that it came from."""
        shard, place, _ = self._at(row)
        return str(shard.keys[place])

    def crop(self, row: int) -> int:
        """Which crop of the picture it is; 0 <= crop < crops of its set."""
        return self._at(row)[2]

    def _at(self, row: int) -> tuple[Shard, int, int]:
        """The shard of a row, the picture within it, and the crop."""
        shards, inner = self._find(np.array([row]))
        place = int(shards[0])
        return self._shard(place), *divmod(int(inner[0]), self._places[place].plan.crops)

    def _find(self, rows_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each row its shard, and its number there."""
        bad = rows_R[(rows_R < 0) | (rows_R >= len(self))]
        if len(bad):
            raise IndexError(f"no row {bad[0]}: the token set has {len(self)} (0 <= row < {len(self)})")
        shards_R = np.searchsorted(self._ends, rows_R, side="right")
        starts_R = np.where(shards_R > 0, self._ends[shards_R - 1], 0)
        return shards_R, rows_R - starts_R

    def _shard(self, place: int) -> Shard:
        found = self._open.get(place)
        if found is None:
            where = self._places[place]
            found = read_shard(where.folder, where.plan, where.number)
            if len(self._open) >= OPEN:
                del self._open[next(iter(self._open))]
            self._open[place] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}


def open_token_set(where: str | Path, *, verify: bool = True) -> TokenSet:
    """A folder that `openflextok tokenize` finished, or several as one line: "DIR_A + DIR_B".

    verify: also read everything now, and compare checksums and ids with what is allowed (about a second per GB).
    Raises ValueError with one line: not finished, of another format, shards missing, truncated, changed or of another
    job, ids beyond the codebook, or sets of different tokenizers.
    """
    parts = [_open(Path(part.strip()).expanduser(), verify) for part in str(where).split(" + ")]
    folder, first = parts[0]
    for other, manifest in parts[1:]:
        for name in ("fingerprint", "codebook_size", "num_tokens"):
            ours, theirs = getattr(first.plan, name), getattr(manifest.plan, name)
            if ours != theirs:
                raise ValueError(
                    f"{folder} and {other} cannot be one set: {name} {ours} and {theirs}; "
                    "tokenize both with the same tokenizer"
                )
    return TokenSet(parts)


def is_token_set(where: str) -> bool:
    """Whether a line names folders of token sets, finished or not."""
    jobs = [Path(part.strip()).expanduser() / JOB for part in where.split(" + ")]
    return all(job.is_file() and FORMAT.encode() in job.read_bytes()[:100] for job in jobs)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished set; ValueError says what the folder is instead."""
    if (folder / MANIFEST).is_file():
        return from_json(Manifest, folder / MANIFEST)
    if (folder / JOB).is_file():
        raise ValueError(f"{folder} is not finished: start the same `openflextok tokenize` again")
    raise ValueError(f"{folder} is no token set (no {MANIFEST}): make one with `openflextok tokenize`")


def _open(folder: Path, verify: bool) -> tuple[Path, Manifest]:
    manifest = read_manifest(folder)
    plan, entries = manifest.plan, manifest.shards
    if len(entries) != plan.shards or sum(entry.images for entry in entries) * plan.crops != manifest.rows:
        raise ValueError(
            f"{folder / MANIFEST} does not agree with itself: {len(entries)} shards listed of {plan.shards}, "
            f"{manifest.rows} rows; delete it and run the same `openflextok tokenize`"
        )
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda number: check_shard(folder, plan, number, entries[number], verify), range(plan.shards)))
    return folder, manifest
