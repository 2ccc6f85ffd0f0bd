"""FlexTok and its relatives at one small size: the same data order, images seen, widths, depths and nearly the same FLOPs.

python benchmarks/compare.py RUNS [--only NAME ...] [--seeds 0 1] [--steps 600] [--results FOLDER]
                             [--stages train measure generate times table]

(or: make compare). Each variant is trained into RUNS/NAME-seedS, measured on held-out images with `openflextok evaluate`
(FOLDER/NAME-seedS.json, by default in RUNS/results), and a small GPT learns its tokens (FOLDER/gpt-NAME-seedS.json). What is
done is not done again; what was interrupted goes on. The last stage writes a table from all of it beside FOLDER.
Several seeds run side by side.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from common import in_turns, row, write
from torch.utils.flop_counter import FlopCounterMode

import openflextok as oft
from openflextok.evaluate.results import Result, differences, read_result, write_result
from openflextok.files import write_atomic
from openflextok.memory import keep_freed_memory
from openflextok.nets.attention import attention_backend
from openflextok.recipes import relatives
from openflextok.recipes.relatives import PERCEPTUAL
from openflextok.train.build import build_objective
from openflextok.train.feeds import Feed, ImageFeed
from openflextok.train.loop import Trainer
from openflextok.train.objectives import Objective
from openflextok.train.parallel import World
from openflextok.train.settings import TokenizerRecipe
from openflextok.types import Draws

TRAIN, HELDOUT = "builtin:cifar10:train", "builtin:cifar10:heldout"
CPU = World(0, 1, torch.device("cpu"))
VARIANTS: dict[str, Callable[[TokenizerRecipe], TokenizerRecipe]] = {
    "flextok": lambda base: replace(base, name="flextok"),
    "titok": lambda base: relatives.titok(base, PERCEPTUAL),
    "one-d-piece": lambda base: relatives.one_d_piece(base, PERCEPTUAL),
    "grid2d": relatives.grid2d,
    "flextok-fixed": relatives.flextok_fixed,
    "flextok-uniform": relatives.flextok_uniform,
    "flextok-lfq16": relatives.flextok_lfq16,
    "flextok-bidirectional": relatives.flextok_bidirectional,
    "semanticist": relatives.semanticist,
    "flextok-repa": relatives.flextok_repa,
    "flextok-vq": relatives.flextok_vq,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=USUAL_STEPS)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--images", type=int, default=500, help="held-out images measured")
    parser.add_argument("--stages", nargs="+", default=[*STAGES, *LAST], choices=[*STAGES, *LAST])
    options = parser.parse_args()
    options.results = options.results or options.runs / "results"
    keep_freed_memory()
    work = [stage for stage in options.stages if stage in STAGES]
    if work and len(options.seeds) > 1:
        in_parallel(options, work)
    else:
        for stage in work:
            STAGES[stage](options)
    for name, last in LAST.items():
        if name in options.stages:
            last(options)


def in_parallel(options: argparse.Namespace, stages: list[str]) -> None:
    """A process for each seed: one thread each is what models of this size can use."""
    common = ["--only", *options.only, "--steps", str(options.steps), "--images", str(options.images)]
    command = [sys.executable, __file__, str(options.runs), *common, "--results", str(options.results)]
    processes = [subprocess.Popen([*command, "--seeds", str(seed), "--stages", *stages]) for seed in options.seeds]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit("a seed stopped: start again to go on")


def runs(options: argparse.Namespace) -> list[tuple[str, int, Path]]:
    """What is compared, and where it lies."""
    return [(name, seed, options.runs / f"{name}-seed{seed}") for seed in options.seeds for name in options.only]


def train_all(options: argparse.Namespace) -> None:
    feed: ImageFeed | None = None
    for name, seed, out in runs(options):
        if not (out / "cost.json").is_file():
            made = recipe(name, seed, options.steps)
            feed = feed or ImageFeed.open(made.data)
            train(made, feed, out)


def recipe(name: str, seed: int, steps: int) -> TokenizerRecipe:
    """A variant of the 32 px FlexTok."""
    base = relatives.flextok_32px()
    data = replace(base.data, source=TRAIN, heldout=HELDOUT)
    train = replace(base.train, steps=steps, seed=seed, preview_every=steps)
    return VARIANTS[name](replace(base, data=data, train=train))


def train(made: TokenizerRecipe, feed: Feed, out: Path) -> None:
    """Train to the end, and write what it cost."""
    torch.manual_seed(made.train.seed)
    objective = build_objective(made, feed)
    flops = training_flops(objective, made)
    trainer = Trainer(made, objective, feed, out, CPU)
    started = time.perf_counter()
    counters = trainer.run()
    if counters.step < made.train.steps:
        sys.exit(f"stopped at step {counters.step} of {made.train.steps}: start again to go on")
    parameters = sum(p.numel() for p in objective.phases[0].module.parameters() if p.requires_grad)
    cost = {
        "variant": made.name,
        "seed": made.train.seed,
        "images": counters.step * made.train.batch_size,
        "gflops_per_image": flops / 1e9,
        "trained_parameters": parameters,
        "seconds_of_this_start": time.perf_counter() - started,
    }
    (out / "cost.json").write_text(json.dumps(cost, indent=1) + "\n")
    print(cost, flush=True)


def training_flops(objective: Objective, made: TokenizerRecipe) -> float:
    """Floating-point operations of forward and backward per image, counted by torch on one batch."""
    size, batch = made.data.image_size, made.train.batch_size
    images, draws = torch.zeros(batch, 3, *size), Draws(list(range(batch)))
    with FlopCounterMode(display=False) as counter, attention_backend("math"):
        for phase in objective.phases:
            terms, _ = phase.module(images, draws, 0)
            torch.stack(list(terms.values())).sum().backward()
            phase.end_step(False)
    for phase in objective.phases:
        phase.module.zero_grad(set_to_none=True)
    return counter.get_total_flops() / batch


# -- measuring, with the commands that a user has -------------------------------------------------------------------


def command(*arguments: str) -> None:
    """One `openflextok` command; its output goes where ours goes."""
    subprocess.run([sys.executable, "-m", "openflextok", *arguments], check=True)


def measure_all(options: argparse.Namespace) -> None:
    """Held-out images from 1, 2, 4, ... tokens."""
    for name, seed, run in runs(options):
        out = options.results / f"{name}-seed{seed}.json"
        if out.is_file() or not (run / "cost.json").is_file():
            continue
        steps = ["--steps", STEPS] if "steps" in oft.load(run / "model").decoder.options else []
        metrics = ["--metrics", "psnr,ssim,lpips-vgg,frechet,codes,bits", "--limit", str(options.images)]
        command("evaluate", "reconstruct", str(run / "model"), HELDOUT, "--out", str(out), *metrics, *steps)
        finish(out, title(name, seed, options.steps), run)


def title(name: str, seed: int, steps: int) -> str:
    """What a result calls its subject."""
    return f"{name}, seed {seed}" if steps == USUAL_STEPS else f"{name}, {steps} steps, seed {seed}"


def finish(out: Path, name: str, pictures: Path) -> None:
    """Give a result the name of its variant; remove its parts, and move its picture out of the results.

    CIFAR-10 states no licence: none of its images may be redistributed.
    """
    result = read_result(out)
    write_result(out, replace(result, subject=replace(result.subject, name=name), pictures=""))
    shutil.move(out.with_suffix(".webp"), pictures / f"{out.stem}.webp")
    shutil.rmtree(out.with_suffix(".parts"))


def generate_all(options: argparse.Namespace) -> None:
    """The same small GPT on the tokens of each: classes to images."""
    for name, seed, run in runs(options):
        out = options.results / f"gpt-{name}-seed{seed}.json"
        model, tokens, gpt = run / "model", run / "tokens", run / "gpt"
        if out.is_file() or not (run / "cost.json").is_file() or not oft.load(model).quantizer.codebook_size:
            continue
        command(
            "tokenize", TRAIN, "--tokenizer", str(model), "--out", str(tokens), "--crops", "1", "--batch-size", "64"
        )
        sets = [part for setting in gpt_settings(model) for part in ("--set", setting)]
        command("train", "gpt-mini-labels", "--data", str(tokens), "--out", str(gpt), *sets)
        steps = ["--steps", STEPS] if "steps" in oft.load(model).decoder.options else []
        metrics = ["--metrics", "frechet,bits", "--limit", str(options.images)]
        command("evaluate", "generate", str(gpt / "model"), "--images", HELDOUT, "--out", str(out), *metrics, *steps)
        finish(out, f"GPT on {title(name, seed, options.steps)}", run)


def gpt_settings(model: Path) -> list[str]:
    """The GPT's size and schedule, for the ids of one tokenizer."""
    tokenizer = oft.load(model)
    size = tokenizer.quantizer.codebook_size
    gpt = f"width: 192, depth: 3, codebook_size: {size}, num_tokens: {tokenizer.num_tokens}, digits: {DIGITS[size]}"
    return [f"generator.gpt={{type: GPT, {gpt}}}", "train.steps=600", "train.batch_size=64", "train.preview_every=600"]


@torch.inference_mode()
def time_all(options: argparse.Namespace) -> None:
    """Decoding 16 images from 1 and from all tokens, every variant in turns in one process: FOLDER-times.json."""
    images = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    calls: dict[str, Callable[[], object]] = {}
    for name in options.only:
        folder = options.runs / f"{name}-seed{options.seeds[0]}"
        if not (folder / "cost.json").is_file():
            continue
        tokenizer = oft.load(folder / "model")
        chosen = {"steps": int(STEPS)} if "steps" in tokenizer.decoder.options else {}
        tokens = tokenizer.encode(images)
        for length in (1, 16):
            calls[f"{name} {length}"] = partial(tokenizer.decode, tokens.truncate(length), **chosen)
    rows = [
        row(variant=call.split()[0], length=int(call.split()[1]), images=16, seconds=time)
        for call, time in in_turns(calls, 5).items()
    ]
    write(options.results.with_name(f"{options.results.name}-times.json"), "compare", rows)


def write_table(options: argparse.Namespace) -> None:
    """FOLDER.md: a table per metric, a row per variant, a column per length; seeds beside each other."""
    text = []
    for prefix, metrics in (("", SHOWN), ("gpt-", SHOWN_OF_GPT)):
        found: dict[str, list[Result]] = {}
        for name, seed, _ in runs(options):
            path = options.results / f"{prefix}{name}-seed{seed}.json"
            if path.is_file():
                found.setdefault(name, []).append(read_result(path))
        check_protocols([result for results in found.values() for result in results])
        for metric, form in metrics.items():
            text += [*table(metric, form, found), ""]
    write_atomic(options.results.with_suffix(".md"), "\n".join(text))


def check_protocols(results: list[Result]) -> None:
    """ValueError where two results cannot stand in one column."""
    for result in results[1:]:
        unlike = differences(results[0].protocol, result.protocol)
        if unlike:
            raise ValueError(f"{results[0].subject.name} and {result.subject.name} differ: {'; '.join(unlike)}")


def table(metric: str, form: str, found: dict[str, list[Result]]) -> list[str]:
    """Lines of markdown."""
    lengths = sorted(
        {
            figure.length
            for results in found.values()
            for result in results
            for figure in result.of(metric)
            if figure.length
        }
    )
    lines = [f"| {metric} | " + " | ".join(map(str, lengths)) + " |", "| --- |" + " ---: |" * len(lengths)]
    for name, results in found.items():
        rows = [{figure.length: format(figure.value, form) for figure in result.of(metric)} for result in results]
        if any(rows):
            cells = [" / ".join(row[length] for row in rows if length in row) for length in lengths]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


SHOWN = {
    "psnr": ".2f",
    "lpips-vgg": ".3f",
    "frechet": ".1f",
    "codes_used": ".0f",
    "bits_order0": ".1f",
}
SHOWN_OF_GPT = {
    "bits_per_token": ".2f",
    "bits_per_token_unconditional": ".2f",
    "frechet": ".1f",
    "tokens-frechet": ".1f",
}
USUAL_STEPS = 600  # of training
STEPS = "10"  # of decoding
DIGITS = {64_000: [512, 125], 65_536: [256, 256]}
STAGES = {"train": train_all, "measure": measure_all, "generate": generate_all}  # of one seed
LAST = {"times": time_all, "table": write_table}

if __name__ == "__main__":
    main()
