"""The end of a job: a look at what was made, and the manifest that makes it a set."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from filelock import FileLock

from openflextok.files import remove_leftovers, write_atomic
from openflextok.token_sets.format import LOCK, MANIFEST, Manifest, summarise
from openflextok.token_sets.job import Job, missing
from openflextok.token_sets.plan import from_json, to_json
from openflextok.token_sets.spot_check import spot_check


def finish(job: Job) -> Manifest | None:
    """Spot check, checksums and manifest; None while there are shards missing, which other processes make.

    Raises ValueError when a shard is damaged, or no picture could be read.
    """
    folder, plan = job.folder, job.plan
    if missing(folder, plan):
        return None
    with FileLock(folder / LOCK):
        remove_leftovers(folder)
        if (folder / MANIFEST).is_file():
            return from_json(Manifest, folder / MANIFEST)
        with ThreadPoolExecutor(job.threads) as pool:
            summaries = list(pool.map(lambda number: summarise(folder, plan, number), range(plan.shards)))
        rows = sum(summary.entry.images for summary in summaries) * plan.crops
        unreadable = tuple(found for summary in summaries for found in summary.unreadable)
        if not rows:
            raise ValueError(f"none of {plan.images} images could be read; the first: {unreadable[0].reason}")
        checked = spot_check(job, [summary.entry.images * plan.crops for summary in summaries])
        manifest = Manifest(
            plan,
            rows,
            tuple(sorted(frozenset[str]().union(*(summary.labels for summary in summaries)))),
            sum(summary.captioned for summary in summaries),
            tuple(summary.entry for summary in summaries),
            unreadable,
            checked.rows,
            checked.differences,
        )
        write_atomic(folder / MANIFEST, to_json(manifest))
        return manifest
