"""A look at a finished set: a few rows are encoded once more from their pictures, compared, and decoded to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from openflextok.evaluate.pictures import picture_grid
from openflextok.files import atomic_file
from openflextok.pixels import ImageError, to_pil
from openflextok.token_sets.format import PICTURE, Shard, read_shard, shard_path
from openflextok.token_sets.job import Job

ROWS = 4
KEY = 24  # letters of a key that the picture shows


@dataclass(frozen=True)
class Checked:
    """How many rows were encoded again, and one line for each that differs."""

    rows: int
    differences: tuple[str, ...]


def spot_check(job: Job, rows: Sequence[int]) -> Checked:
    """Encode a few rows again, evenly spread over the set, and write their crops above what their tokens decode to.

    rows: of each shard; some are > 0. Each row is encoded in the batch that it was in, so that ids must be equal exactly.
    """
    ends = np.cumsum(rows)
    total, different = int(ends[-1]), []
    labels, pictures, stored = [], [], []
    chosen = sorted({place * total // ROWS for place in range(ROWS)})
    for row in chosen:
        number = int(np.searchsorted(ends, row, side="right"))
        inner = row - int(ends[number]) + rows[number]
        shard, path = read_shard(job.folder, job.plan, number), shard_path(job.folder, number)
        place, crop = divmod(inner, job.plan.crops)
        key, stored_N = str(shard.keys[place]), shard.ids_MKN[place, crop].astype(np.int64)
        try:
            pixels, ids_N = _again(job, shard, inner)
        except ImageError as error:
            different.append(f"{path}: {error}")
            continue
        wrong = np.flatnonzero(ids_N != stored_N)
        if len(wrong):
            first = f"token {wrong[0]} is {stored_N[wrong[0]]}, now {ids_N[wrong[0]]}"
            different.append(f"{path}: {key}, crop {crop}: {len(wrong)} of {len(ids_N)} tokens differ ({first})")
        labels.append(f"{key[-KEY:]}\ncrop {crop}, {len(ids_N)} tokens")
        pictures.append(Image.fromarray(pixels))
        stored.append(stored_N)
    if stored:
        decoded = to_pil(job.tokenizer.decode(torch.from_numpy(np.stack(stored)), **job.tokenizer.decoder.draft))
        columns = [(label, pair) for label, *pair in zip(labels, pictures, decoded, strict=True)]
        with atomic_file(job.folder / PICTURE) as temporary:
            picture_grid(columns).save(temporary, "PNG")
    return Checked(len(chosen), tuple(different))


def _again(job: Job, shard: Shard, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Row `row` of a shard from its picture: the crop, uint8 (H, W, 3), and the ids (N,) of it in its batch."""
    first = row - row % job.plan.batch_size
    places = range(first, min(first + job.plan.batch_size, len(shard)))
    pictures = {place // job.plan.crops for place in places}
    crops = {place: job.crops(int(shard.indices_M[place]))[1] for place in pictures}
    batch = [crops[place // job.plan.crops][place % job.plan.crops] for place in places]
    return batch[row - first], job.encode(batch)[row - first]
