"""`openflextok evaluate`: how good a tokenizer or a generator is, with the protocol on a card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import cyclopts

if TYPE_CHECKING:
    from openflextok.evaluate.job import Job
    from openflextok.evaluate.reconstruct import Wanted
    from openflextok.evaluate.reference import Reference, Survey
    from openflextok.evaluate.results import Result
    from openflextok.tokenizer import Tokenizer

app = cyclopts.App(name="evaluate", help="Measure tokenizers and generators; results are JSON with a protocol card.")
app.command("openflextok.cli.probe:probe", name="probe", help="What the first tokens of an image say of its class.")
app.command(
    "openflextok.cli.evaluate_codecs:codecs", name="codecs", help="JPEG, WebP, AVIF, JPEG XL on the same pictures."
)
app.command(
    "openflextok.cli.evaluate_complexity:complexity", name="complexity", help="How many tokens each picture needs."
)
app.command("openflextok.cli.evaluate_details:text", name="text", help="Do words stay legible, by their height.")
app.command("openflextok.cli.evaluate_details:faces", name="faces", help="Do faces stay recognisable, by their height.")

SET_METRICS = "frechet,kid,neighbours,codes,bits"
METRICS = f"psnr,ssim,lpips-alex,colour,{SET_METRICS}"


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
        Of psnr, ssim, ms-ssim, lpips-alex, lpips-vgg, colour, frechet, kid, neighbours, classes, codes, bits.
    networks
        For frechet, kid and neighbours: mobilenet-v2, inception-v3 (FID), or folders or Hub ids of DINOv2 or CLIP models.
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
    from openflextok.cli.common import device
    from openflextok.evaluate.metric_table import choose
    from openflextok.evaluate.reconstruct import Reconstruction
    from openflextok.evaluate.reference import Reference

    model = checkpoints.load(tokenizer, device=device())
    chosen = choose(names(metrics))
    wanted = wanted_of(model, lengths, seeds, steps, guidance, batch_size)
    reference = Reference(data, model.image_size, limit)
    scorer = None if generator is None else checkpoints.load_generator(generator, device=device())
    subject = short_name(tokenizer)
    job = Reconstruction(subject, model, reference, survey(reference), wanted, chosen, names(networks), scorer)
    measure(job, out or Path(f"reconstruct-{subject}-{short_name(data)}.json"))


@app.command
def generate(
    generator: str,
    /,
    *,
    images: str,
    tokenizer: str | None = None,
    train: str | None = None,
    lengths: str | None = None,
    seeds: str = "0",
    guidance: str | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    steps: str | None = None,
    decoder_guidance: str | None = None,
    metrics: str = SET_METRICS,
    networks: str = "mobilenet-v2",
    limit: int = 0,
    batch_size: int = 16,
    out: Path | None = None,
) -> None:
    """Make a new image for the class or caption of every picture of a reference set, and compare the sets.

    Killed and started again, it goes on. Under `torchrun`, process r makes the parts r, r + world, ...

    Parameters
    ----------
    generator
        A built-in name, a folder or a Hub id.
    images
        The reference set, held out from training: a source, as for `train` (docs/data.md).
    tokenizer
        Where the generator's tokenizer is, if no longer where the generator says; its fingerprint is checked.
    train
        Training images: as many as the reference are compared with it too, as what perfect samples would get.
    lengths
        Tokens decoded, as 4,16,64; all of them if not given.
    seeds
        Of the samples and the decoder's noise, as 0,1,2: figures are means over them.
    guidance
        A scale (1: none), or FIRST:LAST; the generator's own if not given.
    temperature
        Below 1: safer tokens.
    top_k
        Only the k likeliest.
    top_p
        Only the likeliest with this sum of probabilities.
    min_p
        Only those with this share of the likeliest one's probability.
    steps
        Solver steps of the decoder: a number, or fast, balanced, best; the decoder's own if not given.
    decoder_guidance
        none, a number, cfg:SCALE or apg:SCALE; the decoder's own if not given.
    metrics
        Of frechet, kid, neighbours, classes, codes, bits.
    networks
        For frechet, kid and neighbours: mobilenet-v2, inception-v3 (FID), or folders or Hub ids of DINOv2 or CLIP models.
    limit
        So many pictures of the reference only, evenly spaced; 0 means all.
    batch_size
        Pictures at a time, and of a part of the work.
    out
        The JSON to write; its pictures (.webp) and its parts (.parts) lie beside it.
    """
    import sys

    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import decode_options, device
    from openflextok.cli.generate import parse_scales
    from openflextok.evaluate.generate import Generation, Sampling, words_of
    from openflextok.evaluate.metric_table import choose
    from openflextok.evaluate.reconstruct import Wanted
    from openflextok.evaluate.reference import Reference

    chosen = choose(names(metrics))
    model = checkpoints.load_generator(generator, device=device())
    decoder = checkpoints.load(tokenizer or model.config.tokenizer, device=device())
    model.check_tokenizer(decoder)
    longest = model.num_tokens
    taken = (longest,) if lengths is None else numbers(lengths, "lengths")
    scale = None if guidance is None else parse_scales(guidance, max(taken))
    given = {"guidance": scale, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    sampling = Sampling(tuple((name, value) for name, value in given.items() if value is not None))
    decoding = decode_options(decoder, steps=steps, guidance=decoder_guidance)
    wanted = Wanted(taken, numbers(seeds, "seeds"), tuple(decoding.items()), batch_size)
    wanted.check(longest)
    reference = Reference(images, decoder.image_size, limit)
    learned = None if train is None else Reference(train, decoder.image_size, len(reference))
    given_words = words_of(model, reference)
    if not any(given_words):
        kind = model.conditioner.kind
        print(f"warning: no picture of {images} has one of the {kind}: samples have no condition", file=sys.stderr)
    subject = short_name(generator)
    job = Generation(
        subject, model, decoder, reference, survey(reference), wanted, chosen, sampling, names(networks), learned
    )
    measure(job, out or Path(f"generate-{subject}-{short_name(images)}.json"))


def wanted_of(
    model: Tokenizer, lengths: str | None, seeds: str, steps: str | None, guidance: str | None, batch: int
) -> Wanted:
    """What the options ask for; ValueError where the tokenizer does not have it."""
    from openflextok.cli.common import decode_options
    from openflextok.evaluate.reconstruct import Wanted
    from openflextok.lengths import power_lengths

    kept = power_lengths(model.num_tokens) if lengths is None else numbers(lengths, "lengths")
    options = decode_options(model, steps=steps, guidance=guidance)
    wanted = Wanted(kept, numbers(seeds, "seeds"), tuple(options.items()), batch)
    wanted.check(model.num_tokens)
    return wanted


def names(text: str) -> tuple[str, ...]:
    """'a,b' -> ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str, what: str) -> tuple[int, ...]:
    """'1,2,4' -> (1, 2, 4); ValueError for anything else."""
    if not all(part.isdecimal() for part in names(text)) or not names(text):
        raise ValueError(f"{what} {text!r} are not understood: give whole numbers, as 1,2,4")
    return tuple(int(part) for part in names(text))


def short_name(text: str) -> str:
    """A name fit for files: the end of a path (of a training's model: of the training), letters, digits, dots and dashes."""
    path = text.replace("/#", "#").rstrip("/").removesuffix("/model")
    return re.sub(r"[^\w.]+", "-", path.rpartition("/")[2]).strip("-") or "unnamed"


def survey(reference: Reference) -> Survey:
    """Read the whole reference once, with a bar; unreadable pictures are named."""
    import sys

    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task("reading the reference", total=len(reference))
        found = reference.survey(lambda pictures: bar.advance(task, pictures))
    for line in found.unreadable:
        print(f"skipped: {line}", file=sys.stderr)
    return found


def measure(job: Job, out: Path) -> None:
    """Carry out a job, with a bar, and print its figures as a table."""
    from openflextok.evaluate.table import text_table

    result = carry_out(job, out)
    if result is not None:
        print(text_table(result))
        for note in result.notes:
            print(f"note: {note}")


def carry_out(job: Job, out: Path) -> Result | None:
    """Carry out a job, with a bar, and say what files came of it; none where other processes have parts to make."""
    import os
    import sys

    from openflextok.cli.outputs import check_file
    from openflextok.cli.progress import ImagesBar
    from openflextok.evaluate.job import check_result, missing, run, start

    check_file(out, ".json")
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    check_result(out, job.plan)
    folder = out.with_suffix(".parts")
    start(folder, job.plan)
    absent = missing(folder, job)
    own = [number for number in absent if number % world == rank]
    for note in job.tools.notes:
        print(f"warning: {note}", file=sys.stderr)
    if len(absent) < job.parts:
        print(f"{job.parts - len(absent)} of {job.parts} parts are there already")
    with ImagesBar(min(len(own) * job.plan.batch, len(job.reference)), visible=rank == 0) as bar:
        result = run(job, folder, out, bar.advance, rank, world)
    if result is None:
        print(f"process {rank} of {world} is done; the last of the others writes {out}")
    else:
        print(", ".join([str(out), *([result.pictures] if result.pictures else [])]) + f"; {folder} may be removed")
    return result
