"""`openflextok tokenize`: a whole data set to shards of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openflextok.token_sets.format import Manifest


def tokenize(
    data: str,
    /,
    *,
    out: Path,
    tokenizer: str | None = None,
    crops: int = 1,
    crop_scale: tuple[float, float] | None = None,
    flip: bool | None = None,
    seed: int = 0,
    precision: str = "fp32",
    shard_size: int = 4096,
    batch_size: int = 32,
    threads: int = 4,
    engine: str = "local",
    address: str | None = None,
    workers: int = 1,
) -> None:
    """Encode every picture of a data set to a folder of shards; killed and started again, it goes on.

    Under `torchrun` (or with RANK and WORLD_SIZE set), process r makes the shards r, r + world, ...

    Parameters
    ----------
    data
        A folder, .tar shards, `hf:NAME:SPLIT`, `builtin:NAME:SPLIT` or a mix, as for `train` (docs/data.md).
    out
        A new or empty folder, or that of the same job.
    tokenizer
        A built-in name, a folder or a Hub id; the embedded checkpoint if not given.
    crops
        Per picture: 1 is the centre crop, more are random ones.
    crop_scale
        Smallest and largest side of a random crop, as a share of the largest that fits; 0.8 1.0 if not given.
    flip
        Mirror half of the random crops; they do if not given.
    seed
        Of the random crops.
    precision
        fp32, or bf16: quicker on machines made for it, but some ids differ from those of fp32.
    shard_size
        Pictures per shard.
    batch_size
        Crops encoded at a time.
    threads
        That read and crop pictures ahead of the encoder.
    engine
        local, or ray: actors of Ray, on this machine or a cluster.
    address
        Of a running Ray cluster; none starts Ray on this machine.
    workers
        Actors of Ray.
    """
    import logging
    import os

    from rich.logging import RichHandler

    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import device
    from openflextok.cli.progress import ImagesBar
    from openflextok.cli.tokens import tokenizer_name
    from openflextok.data.sources import open_source
    from openflextok.token_sets.finish import finish
    from openflextok.token_sets.format import MANIFEST
    from openflextok.token_sets.job import Job, make_shard, missing, start
    from openflextok.token_sets.plan import make_plan
    from openflextok.token_sets.ray_engine import run_on_ray

    if engine not in ("local", "ray"):
        raise ValueError(f"unknown engine {engine!r}: choose local or ray")
    for name, count in (("threads", threads), ("workers", workers)):
        if count < 1:
            raise ValueError(f"{count} {name} are impossible: give 1 or more")
    if engine == "local" and (workers, address) != (1, None):
        raise ValueError("--workers and --address are for --engine ray: start several processes under torchrun instead")
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    logging.basicConfig(level=logging.WARNING, handlers=[RichHandler()], format="%(message)s")
    encoder = checkpoints.load(tokenizer, device=device())
    source = open_source(data)
    plan = make_plan(
        data, source, tokenizer_name(tokenizer), encoder,
        crops=crops, crop_scale=crop_scale, flip=flip, seed=seed,
        precision=precision, shard_size=shard_size, batch_size=batch_size,
    )  # fmt: skip
    job = Job(out, plan, source, encoder, threads)
    start(out, plan)
    finished = (out / MANIFEST).is_file()
    absent = missing(out, plan)
    own = [number for number in absent if number % world == rank]
    if len(absent) < plan.shards:
        print(f"{plan.shards - len(absent)} of {plan.shards} shards are there already")
    if precision == "bf16" and own:
        print("bf16: some ids differ from those that fp32 gives")
    with ImagesBar(sum(len(plan.pictures(number)) for number in own), visible=rank == 0) as bar:
        if engine == "ray":
            manifest = run_on_ray(out, own, address=address, workers=workers, threads=threads, tick=bar.advance)
        else:
            for number in own:
                make_shard(job, number, bar.advance)
            manifest = finish(job)
    if manifest is None:
        print(f"process {rank} of {world} is done; the last of the others writes the manifest")
        return
    print(f"nothing to do: {summary(out, manifest, 'were then')}" if finished else summary(out, manifest))
    for difference in manifest.spot_differences:
        print(f"spot check: {difference}")
    if manifest.spot_differences:
        raise SystemExit(1)


def summary(out: Path, manifest: Manifest, were: str = "are") -> str:
    """'... rows of ... tokens in ...', with what was left out."""
    plan = manifest.plan
    left_out = f", {len(manifest.unreadable)} unreadable (listed in manifest.json)" if manifest.unreadable else ""
    equal = manifest.spot_checked - len(manifest.spot_differences)
    return (
        f"{manifest.rows} rows of {plan.num_tokens} tokens in {out}: {plan.images} images x {plan.crops} crops{left_out}, "
        f"{len(manifest.shards)} shards, {len(manifest.classes)} classes; "
        f"{equal} of {manifest.spot_checked} rows encoded again {were} equal"
    )
