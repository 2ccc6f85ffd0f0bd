"""`openflextok evaluate`: how good a tokenizer or a generator is, with the protocol on a card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cyclopts

if TYPE_CHECKING:
    from openflextok.evaluate.job import Job
    from openflextok.evaluate.reference import Reference, Survey

app = cyclopts.App(name="evaluate", help="Measure tokenizers and generators; results are JSON with a protocol card.")

METRICS = "psnr,ssim,lpips-alex,colour,frechet,kid,neighbours,codes,bits"


@app.command
def reconstruct(
    tokenizer: str,
    data: str,
    /,
    *,
    lengths: str | None = None,
    seeds: str = "0",
    steps: str | None = None,
    guidance: str | None = None,
    metrics: str = METRICS,
    networks: str = "mobilenet-v2",
    generator: str | None = None,
    limit: int = 0,
    batch_size: int = 16,
    out: Path | None = None,
) -> None:
    """Rebuild every picture of a data set at each length and compare; killed and started again, it goes on.

    Under `torchrun` (or with RANK and WORLD_SIZE set), process r makes the parts r, r + world, ...

    Parameters
    ----------
    tokenizer
        A built-in name, a folder or a Hub id.
    data
        A folder (`FOLDER#SPLIT`), .tar shards, `hf:NAME:SPLIT` or `builtin:NAME:SPLIT`, as for `train` (docs/data.md).
    lengths
        Tokens kept, as 1,2,4,16; powers of two and all of them if not given.
    seeds
        Of the decoder's noise, as 0,1,2: figures are means over them, with their standard deviation.
    steps
        Solver steps: a number, or fast, balanced, best; the decoder's own if not given.
    guidance
        none, a number, cfg:SCALE or apg:SCALE; the decoder's own if not given.
    metrics
        Of psnr, ssim, ms-ssim, lpips-alex, lpips-vgg, colour, frechet, kid, neighbours, codes, bits.
    networks
        For frechet, kid and neighbours: mobilenet-v2, or folders of a DINOv2 or CLIP model (transformers).
    generator
        Whose probabilities give bits per image, too; without a condition.
    limit
        So many pictures only, evenly spaced; 0 means all.
    batch_size
        Pictures at a time, and of a part of the work.
    out
        The JSON to write; its pictures (.webp) and its parts (.parts) lie beside it.
    """
    from openflextok import checkpoint as checkpoints
    from openflextok.evaluate.metric_table import choose
    from openflextok.evaluate.reconstruct import Reconstruction, Wanted
    from openflextok.evaluate.reference import Reference
    from openflextok.lengths import power_lengths

    model = checkpoints.load(tokenizer, device=device())
    chosen = choose(names(metrics))
    wanted = Wanted(
        power_lengths(model.num_tokens) if lengths is None else numbers(lengths, "lengths"),
        numbers(seeds, "seeds"),
        options(steps, guidance),
        batch_size,
    )
    wanted.check(model.num_tokens)
    reference = Reference(data, model.image_size, limit)
    scorer = None if generator is None else checkpoints.load_generator(generator, device=device())
    subject = short_name(tokenizer)
    job = Reconstruction(subject, model, reference, survey(reference), wanted, chosen, names(networks), scorer)
    measure(job, out or Path(f"reconstruct-{subject}-{short_name(data)}.json"))


app.command("openflextok.cli.probe:probe", name="probe", help="What the first tokens of an image say of its class.")


def device() -> str:
    """The GPU of this process, or the CPU."""
    import os

    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def names(text: str) -> tuple[str, ...]:
    """'a,b' -> ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str, what: str) -> tuple[int, ...]:
    """'1,2,4' -> (1, 2, 4); ValueError for anything else."""
    if not all(part.isdecimal() for part in names(text)) or not names(text):
        raise ValueError(f"{what} {text!r} are not understood: give whole numbers, as 1,2,4")
    return tuple(int(part) for part in names(text))


def options(steps: str | None, guidance: str | None) -> tuple[tuple[str, Any], ...]:
    """What the user gave of the decoder's options, and nothing else."""
    from openflextok.cli.common import parse_guidance_option, parse_steps_option

    given: list[tuple[str, Any]] = [] if steps is None else [("steps", parse_steps_option(steps))]
    return (*given, *([] if guidance is None else [("guidance", parse_guidance_option(guidance))]))


def short_name(text: str) -> str:
    """A name fit for files: the end of a path, and letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text.rstrip("/").rpartition("/")[2]).strip("-")


def survey(reference: Reference) -> Survey:
    """Read the whole reference once, with a bar; unreadable pictures are named."""
    import sys

    from openflextok.cli.progress import ImagesBar

    with ImagesBar(len(reference), visible=False) as bar:
        found = reference.survey(bar.advance)
    for line in found.unreadable:
        print(f"skipped: {line}", file=sys.stderr)
    return found


def measure(job: Job, out: Path) -> None:
    """Carry out a job, with a bar, and say what came of it."""
    import os

    from openflextok.cli.progress import ImagesBar
    from openflextok.evaluate.job import missing, run
    from openflextok.evaluate.table import text_table

    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    folder = out.with_suffix(".parts")
    absent = missing(folder, job)
    own = [number for number in absent if number % world == rank]
    if len(absent) < job.parts:
        print(f"{job.parts - len(absent)} of {job.parts} parts are there already")
    with ImagesBar(min(len(own) * job.plan.batch, len(job.reference)), visible=rank == 0) as bar:
        result = run(job, folder, out, bar.advance, rank, world)
    if result is None:
        print(f"process {rank} of {world} is done; the last of the others writes {out}")
        return
    print(text_table(result))
    for note in result.notes:
        print(f"note: {note}")
    print(f"{out}, {out.with_suffix('.webp').name}; {folder} may be removed")
