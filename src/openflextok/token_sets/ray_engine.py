"""The shards of a job made by actors of Ray, on this machine or a cluster whose machines share the folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from openflextok.token_sets.finish import finish
from openflextok.token_sets.format import Manifest
from openflextok.token_sets.job import Job, make_shard, reopen


class ShardMaker:
    """An actor: holds the tokenizer, and makes the shards whose numbers it is given."""

    def __init__(self, folder: str, threads: int, there: str) -> None:
        self.job = _reopen(folder, threads, there)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        number = int(row["id"])
        make_shard(self.job, number)
        return {"images": len(self.job.plan.pictures(number))}


def run_on_ray(
    folder: Path,
    shards: Sequence[int],
    *,
    address: str | None,
    workers: int,
    threads: int,
    tick: Callable[[int], object],
) -> Manifest | None:
    """Make shards with `workers` actors, one GPU each where there are any, and finish the set.

    address: of a running cluster; none starts Ray on this machine for the time of the job. A worker that dies is
    replaced, and its shard is made again: the same bytes. tick: called with the number of pictures of each shard made.
    workers: 1 or more. Raises ImportError without Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _library()
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)  # it tells of every stage
    ray.init(address or "local", include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0) > 0)
        arguments = (str(folder.resolve()), threads, os.getcwd())
        for images in _make(ray, shards, arguments, workers, gpus):
            tick(images)
        return ray.get(ray.remote(num_gpus=gpus)(_finish).remote(*arguments))
    finally:
        ray.shutdown()


def _make(ray: Any, shards: Sequence[int], arguments: tuple, workers: int, gpus: int) -> Iterator[int]:
    if not shards:
        return
    ray.data.DataContext.get_current().enable_progress_bars = False
    numbers = ray.data.from_items([{"id": number} for number in shards], override_num_blocks=len(shards))
    pool = ray.data.ActorPoolStrategy(size=min(workers, len(shards)))
    made = numbers.map(ShardMaker, fn_constructor_args=arguments, compute=pool, num_cpus=1, num_gpus=gpus)
    for row in made.iter_rows():
        yield int(row["images"])


def _finish(folder: str, threads: int, there: str) -> Manifest | None:
    return finish(_reopen(folder, threads, there))


def _reopen(folder: str, threads: int, there: str) -> Job:
    """there: the folder that relative paths in the job start from, where this machine has it."""
    import torch

    if os.path.isdir(there):
        os.chdir(there)
    return reopen(Path(folder), threads, "cuda" if torch.cuda.is_available() else "cpu")


def _library() -> Any:
    try:
        import ray  # an extra, and large
        import ray.data
    except ImportError:
        raise ImportError("the ray engine needs Ray: pip install 'openflextok[ray]'") from None
    return ray
