"""`openflextok evaluate complexity`: how many tokens each picture needs, and whether complex ones need more."""

from __future__ import annotations

from pathlib import Path


def complexity(
    tokenizer: str,
    data: str,
    /,
    *,
    target: float,
    metric: str = "psnr",
    every_length: bool = False,
    steps: str | None = None,
    guidance: str | None = None,
    seed: int = 0,
    limit: int = 0,
    batch_size: int = 16,
    out: Path | None = None,
) -> None:
    """Find the fewest tokens that bring each picture within a target, and compare with how complex it is.

    Killed and started again, it goes on. Under `torchrun`, process r makes the parts r, r + world, ...

    Parameters
    ----------
    tokenizer
        A built-in name, a folder or a Hub id.
    data
        A folder (`FOLDER#SPLIT`), .tar shards, `hf:NAME:SPLIT` or `builtin:NAME:SPLIT`, as for `train` (docs/data.md).
    target
        The value of the metric that is near enough: at least (psnr, ssim, ms-ssim) or at most (lpips-alex, lpips-vgg).
    metric
        psnr, ssim, ms-ssim, lpips-alex or lpips-vgg.
    every_length
        Decode every length instead of a bisection, which takes for granted that more tokens come nearer.
    steps
        Solver steps: a number, or fast, balanced, best; the decoder's own if not given.
    guidance
        none, a number, cfg:SCALE or apg:SCALE; the decoder's own if not given.
    seed
        Of the decoder's noise, the same at all lengths.
    limit
        So many pictures only, evenly spaced; 0 means all.
    batch_size
        Pictures at a time, and of a part of the work.
    out
        The JSON to write; its parts (.parts) lie beside it.
    """
    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import decode_options, device
    from openflextok.cli.evaluate import measure, short_name, survey
    from openflextok.evaluate.complexity import Complexity, Target
    from openflextok.evaluate.reference import Reference

    wanted = Target(metric, target, every_length)
    model = checkpoints.load(tokenizer, device=device())
    options = tuple(decode_options(model, steps=steps, guidance=guidance).items())
    reference, subject = Reference(data, model.image_size, limit), short_name(tokenizer)
    job = Complexity(subject, model, reference, survey(reference), wanted, seed, options, batch_size)
    measure(job, out or Path(f"complexity-{subject}-{short_name(data)}.json"))
