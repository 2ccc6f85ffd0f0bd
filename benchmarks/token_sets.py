"""`tokenize` against a bare `encode` loop over ready crops, Ray against both, and random rows read from a set.

python benchmarks/token_sets.py [--quick]    writes results/token_sets.json

The pictures are JPEGs of 320 x 256 cut from the bundled photos. Engines and loops take turns, so that other load on the
machine meets all of them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import row, write
from PIL import Image

import openflextok as oft
from openflextok.data.base import Texts
from openflextok.data.sources import open_source
from openflextok.data.transforms import random_crop
from openflextok.token_sets.format import Manifest, Shard, summarise, write_shard
from openflextok.token_sets.job import Job, make_shard, start
from openflextok.token_sets.plan import FORMAT, JOB, Plan, make_plan, names_digest, to_json
from openflextok.token_sets.ray_engine import run_on_ray
from openflextok.token_sets.reader import open_token_set

IMAGES, TURNS = (64, 1) if "--quick" in sys.argv else (256, 3)
ROWS_PER_SHARD, SHARDS, TOKENS = 4096, 64, 64
PHOTOS = Path(oft.__file__).parent / "photos"


def seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def write_pictures(folder: Path) -> None:
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    folder.mkdir()
    for i in range(IMAGES):
        random_crop(photos[i % len(photos)], (256, 320), (0.4, 0.9), rng=i).save(folder / f"{i:05}.jpg", quality=90)


def engine_rows(root: Path) -> list[dict[str, object]]:
    """Images per second: of the loop, of the local engine (reading, cropping and writing), and of Ray with its start."""
    write_pictures(root / "pictures")
    data, tokenizer = str(root / "pictures"), oft.load()
    source = open_source(data)
    best: dict[tuple[str, str], float] = {}
    for turn in range(TURNS):
        for precision in ("fp32", "bf16"):
            plan = make_plan(data, source, "flextok-mini", tokenizer, precision=precision, shard_size=128)
            job = Job(root / f"local-{precision}-{turn}", plan, source, tokenizer, 4)
            crops = [crop for index in range(IMAGES) for crop in job.crops(index)[1]]
            batches = [crops[i : i + plan.batch_size] for i in range(0, IMAGES, plan.batch_size)]
            start(job.folder, plan)

            def local(job: Job = job) -> None:
                for number in range(job.plan.shards):
                    make_shard(job, number)

            def loop(job: Job = job, batches: list[list[np.ndarray]] = batches) -> None:
                for batch in batches:
                    job.encode(batch)

            timed = {"bare encode loop": seconds(loop), "local engine": seconds(local)}
            if precision == "fp32":
                folder = root / f"ray-{turn}"
                start(folder, plan)
                made: list[float] = []

                def ray(folder: Path = folder, plan: Plan = plan, made: list[float] = made) -> None:
                    options = {"address": None, "workers": 2, "threads": 2}
                    begin = time.perf_counter()
                    run_on_ray(
                        folder, range(plan.shards), **options, tick=lambda _: made.append(time.perf_counter() - begin)
                    )

                ray()
                timed["ray, 2 workers, with its start"] = made[-1]
            for name, value in timed.items():
                print(precision, name, round(value, 2))
                best[name, precision] = min(value, best.get((name, precision), value))
    return [
        row(part=name, precision=precision, images=IMAGES, seconds=round(value, 3), images_per_second=round(IMAGES / value, 2))
        for (name, precision), value in best.items()
    ]  # fmt: skip


def reader_rows(root: Path) -> list[dict[str, object]]:
    """Random rows per second from a set of random ids that lies in the page cache, and the time to open it."""
    images = ROWS_PER_SHARD * SHARDS
    plan = Plan(
        FORMAT, "none", images, "0", "none", "0", 64000, TOKENS, (128, 128), 1, None, False, 0, "fp32", ROWS_PER_SHARD, 32
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for number in range(SHARDS):
        places = np.array(plan.pictures(number))
        keys, labels = Texts(f"{place}.jpg" for place in places), Texts(str(place % 100) for place in places)
        ids = rng.integers(0, 64000, (ROWS_PER_SHARD, 1, TOKENS))
        write_shard(root, plan, number, Shard(ids, places, keys, labels, Texts([None] * ROWS_PER_SHARD), ()))
    entries = tuple(summarise(root, plan, number).entry for number in range(SHARDS))
    (root / JOB).write_text(to_json(plan))
    (root / "manifest.json").write_text(to_json(Manifest(plan, images, (), 0, entries, (), 0, ())))
    rows = [
        row(part="open", verify=verify, rows=images, seconds=round(seconds(lambda v=verify: open_token_set(root, verify=v)), 4))
        for verify in (True, False)
    ]  # fmt: skip
    tokens = open_token_set(root, verify=False)
    for batch in (1, 256, 4096):
        batches = rng.integers(0, images, (max(1, 100_000 // batch if batch > 1 else 20_000), batch))
        took = min(seconds(lambda b=batches: [tokens.ids(asked) for asked in b]) for _ in range(3))
        rows.append(row(part="random rows", batch=batch, rows_per_second=round(batches.size / took)))
    took = seconds(lambda: [tokens.label(int(asked)) for asked in rng.integers(0, images, 20_000)])
    return [*rows, row(part="labels of random rows", rows_per_second=round(20_000 / took))]


def name_rows(root: Path) -> list[dict[str, object]]:
    """The digest of all names, which every start takes."""
    folder = root / "names"
    folder.mkdir()
    lines = (f'{{"file": "images/{i:07}.jpg"}}\n' for i in range(200_000))
    (folder / "meta.jsonl").write_text("".join(lines))
    source = open_source(str(folder))
    return [row(part="digest of names", names_per_second=round(200_000 / seconds(lambda: names_digest(source))))]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "set").mkdir()
        found = reader_rows(Path(place) / "set") + name_rows(Path(place)) + engine_rows(Path(place))
    for entry in found:
        print(entry)
    if TURNS > 1:
        write(Path(__file__).parents[1] / "results" / "token_sets.json", "token_sets", found)
    print("threads", torch.get_num_threads())
