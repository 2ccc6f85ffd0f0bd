"""Making a set of tokens: any process makes any missing shard; the one that finds all of them finishes the set.

    job.json -> [pictures of shard i -> crops -> batches -> ids] -> shard-i.safetensors -> ... -> spot check, manifest

The folder is all that processes share. A shard appears whole or not at all and depends on the plan and its number
alone, so a job that was killed goes on with the shards that are missing, and a shard made twice is the same shard.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock

from openflextok.checkpoint import load
from openflextok.data.base import Example, ImageSource, Texts
from openflextok.data.sources import open_source
from openflextok.data.transforms import center_crop, random_crop
from openflextok.files import write_atomic
from openflextok.pixels import ImageError
from openflextok.token_sets.format import LOCK, Shard, Unreadable, read_shard, shard_path, write_shard
from openflextok.token_sets.plan import JOB, Plan, differences, from_json, to_json
from openflextok.tokenizer import Tokenizer

logger = logging.getLogger(__name__)
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Job:
    """A plan with what carries it out."""

    folder: Path
    plan: Plan
    source: ImageSource
    tokenizer: Tokenizer
    threads: int
    """That read, decode and crop pictures ahead of the encoder."""

    def crops(self, index: int) -> tuple[Example, np.ndarray]:
        """Picture `index` of the source and its crops, uint8 (K, H, W, 3); ImageError when it cannot be read."""
        example = self.source.read(index)
        return example, cut(self.plan, index, example)

    def encode(self, crops: list[np.ndarray]) -> np.ndarray:
        """At most a batch of crops, each uint8 (H, W, 3) -> ids (B, N), int64."""
        pixels = torch.from_numpy(np.stack(crops))
        with torch.autocast(self.tokenizer.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16"):
            return self.tokenizer.encode(pixels).ids.cpu().numpy()


def cut(plan: Plan, index: int, example: Example) -> np.ndarray:
    """The crops of a picture, uint8 (K, H, W, 3): they depend on the seed, its number and the crop's number alone."""
    if plan.crop_scale is None:
        return np.asarray(center_crop(example.image, plan.image_size))[None]
    rngs = [np.random.default_rng([plan.seed, index, crop]) for crop in range(plan.crops)]
    crops = [random_crop(example.image, plan.image_size, plan.crop_scale, plan.flip, rng) for rng in rngs]
    return np.stack([np.asarray(crop) for crop in crops])


def start(folder: Path, plan: Plan) -> None:
    """Write the plan into a new or empty folder, or check that the folder holds a job of the same plan.

    Raises ValueError for a folder with other files, or naming the entries that differ.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    found = {path.name for path in folder.iterdir()}
    others = sorted(name for name in found if name != LOCK and not name.startswith(f".{JOB}."))
    if others and JOB not in found:
        raise ValueError(f"{folder} holds other files ({', '.join(others[:3])}): give a new or an empty folder")
    with FileLock(folder / LOCK):
        if not (folder / JOB).is_file():
            write_atomic(folder / JOB, to_json(plan))
            return
    changed = differences(from_json(Plan, folder / JOB), plan)
    if changed:
        raise ValueError(
            f"{folder} holds another job, different in {'; '.join(changed)}: give the same command, or another --out"
        )


def reopen(folder: Path, threads: int, device: torch.device | str) -> Job:
    """A job from its folder alone; ValueError if its tokenizer or its source are not what they were."""
    plan = from_json(Plan, folder / JOB)
    source, tokenizer = open_source(plan.data), load(plan.tokenizer, device=device)
    now = (len(source), tokenizer.fingerprint())
    if now != (plan.images, plan.fingerprint):
        was = (plan.images, plan.fingerprint)
        raise ValueError(f"{folder}: pictures and fingerprint are {now} here, {was} in the job: use the same files")
    return Job(folder, plan, source, tokenizer, threads)


def missing(folder: Path, plan: Plan) -> list[int]:
    """Numbers of the shards that are still to be made; ValueError for one that is damaged or of another job."""
    numbers = range(plan.shards)
    absent = [number for number in numbers if not shard_path(folder, number).is_file()]
    for number in set(numbers) - set(absent):
        read_shard(folder, plan, number)
    return absent


def make_shard(job: Job, number: int, tick: Callable[[int], object] = lambda images: None) -> None:
    """Encode the pictures of one shard and write it; `tick` is called with how many more are done."""
    words: list[tuple[str, str | None, str | None]] = []
    indices: list[int] = []
    unreadable: list[Unreadable] = []
    ids: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    plan, pictures, due = job.plan, job.plan.pictures(number), 0

    def read(index: int) -> tuple[Example, np.ndarray] | str:
        try:
            return job.crops(index)
        except ImageError as error:
            return str(error)

    window = 2 * -(-plan.batch_size // plan.crops) + job.threads
    with ThreadPoolExecutor(job.threads) as pool:
        for index, found in zip(pictures, ahead(pool, read, pictures, window), strict=True):
            if isinstance(found, str):
                unreadable.append(Unreadable(index, found))
                logger.warning("left out: %s", found)
            else:
                example, crops = found
                words.append((example.key, example.label, example.caption))
                indices.append(index)
                waiting += list(crops)
            due += 1
            while len(waiting) >= plan.batch_size:
                ids.append(job.encode(waiting[: plan.batch_size]))
                del waiting[: plan.batch_size]
                tick(due)
                due = 0
    if waiting:
        ids.append(job.encode(waiting))
    ids_MKN = np.concatenate([*ids, np.empty((0, plan.num_tokens), np.int64)])
    ids_MKN = ids_MKN.reshape(len(words), plan.crops, plan.num_tokens)
    keys, labels, captions = (Texts(row[column] for row in words) for column in range(3))
    shard = Shard(ids_MKN, np.array(indices, np.int64), keys, labels, captions, tuple(unreadable))
    write_shard(job.folder, plan, number, shard)
    tick(due)


def ahead(pool: ThreadPoolExecutor, work: Callable[[In], Out], items: Iterable[In], window: int) -> Iterator[Out]:
    """Results in order, while a pool works on at most `window` items beyond the one that is waited for."""
    running: deque[Future[Out]] = deque()
    for item in items:
        running.append(pool.submit(work, item))
        if len(running) > window:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
