"""FlexTok and its relatives at one small size: the same data order, images seen, widths, depths and nearly the same FLOPs.

python benchmarks/compare.py RUNS [--only NAME ...] [--seeds 0 1] [--steps 600]      (or: make compare)

Each variant is trained into RUNS/NAME-seedS; a training that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

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
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    keep_freed_memory()
    feed: ImageFeed | None = None
    for seed in options.seeds:
        for name in options.only:
            out = options.runs / f"{name}-seed{seed}"
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


if __name__ == "__main__":
    main()
