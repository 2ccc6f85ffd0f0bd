"""Choices of the embedded checkpoint compared on one small set-up: latent space, absent tokens, lengths.

python benchmarks/choices.py TRAIN HELDOUT SPACE RUNS [--steps 300]    writes results/choices.json

TRAIN, HELDOUT: data as `openflextok train` takes it; SPACE: a trained `kl-f8-mini`; RUNS: a folder for the trainings,
which are resumed where they were. Every variant is `flextok-mini` at d3-d3 with the same seed, batches and steps.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from common import write

import openflextok as oft
from openflextok.evaluate.job import run
from openflextok.evaluate.metric_table import choose
from openflextok.evaluate.reconstruct import Reconstruction, Wanted
from openflextok.evaluate.reference import Reference
from openflextok.evaluate.results import Result
from openflextok.evaluate.table import text_table
from openflextok.lengths import power_lengths
from openflextok.nets.flow_decoder import FlowDecoder

SMALL = [
    "tokenizer.encoder.width=192",
    "tokenizer.encoder.depth=3",
    "tokenizer.decoder.width=192",
    "tokenizer.decoder.depth=3",
    "train.optim.warmup_steps=50",
    "train.optim.ema_decay=0.99",
    "train.preview_every=1000",
    "train.save_every=100",
]
PIXELS = [
    "tokenizer.encoder.channels=3",
    "tokenizer.encoder.patch_size=16",
    "tokenizer.decoder.channels=3",
    "tokenizer.decoder.patch_size=16",
    "space_weights=''",
]
VARIANTS = {
    "base: autoencoder, remove, powers of two": [],
    "mask": ["tokenizer.decoder.absence=mask"],
    "uniform lengths": [f"tokenizer.lengths.choices={list(range(1, 65))}"],
    "pixels": [*PIXELS, "tokenizer.space={type: Pixels, scale: 2.0}"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train")
    parser.add_argument("heldout")
    parser.add_argument("space")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--count", type=int, default=48)
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for name, changes in VARIANTS.items():
        out = options.runs / name.split(":")[0].replace(" ", "-")
        command = [sys.executable, "-m", "openflextok", "train", "flextok-mini", "--data", options.train]
        command += ["--heldout", options.heldout, "--out", str(out)]
        for setting in (f"space_weights={options.space}", f"train.steps={options.steps}", *SMALL, *changes):
            command += ["--set", setting]
        subprocess.run(command, check=True)
        for absence in ("mask", "remove") if name == "mask" else (None,):
            tokenizer = oft.load(out / "model")
            decoder = tokenizer.decoder
            assert isinstance(decoder, FlowDecoder)
            decoder.config = replace(decoder.config, absence=absence or decoder.config.absence)
            label = name if absence in (None, "mask") else f"{name}, decoded with {absence}"
            result = measured(label, tokenizer, Reference(options.heldout, tokenizer.image_size, options.count), out)
            print(f"{label}\n\n{text_table(result)}\n", flush=True)
            about = {"variant": label, "train": options.train, "steps": options.steps, "torch": torch.__version__}
            rows += [about | row for row in (*curve(result, ""), *curve(result, "space-"))]
    write(Path(__file__).parents[1] / "results" / "choices.json", "choices", rows)


def measured(label: str, tokenizer: oft.Tokenizer, reference: Reference, out: Path) -> Result:
    """PSNR and LPIPS at 1, 2, 4, ... tokens; the result and its parts lie in the folder of the training."""
    wanted = Wanted(power_lengths(tokenizer.num_tokens), options=(("steps", 20), ("guidance", "cfg:1.5")))
    job = Reconstruction(label, tokenizer, reference, reference.survey(), wanted, choose(("psnr", "lpips-alex")))
    name = label.replace(":", "").replace(",", "").replace(" ", "-")
    result = run(job, out / f"{name}.parts", out / f"{name}.json")
    assert result is not None, "this process makes all parts"
    return result


def curve(result: Result, arm: str) -> list[dict[str, object]]:
    """A row for each length of "" (the tokens) or "space-" (the ceiling: no length, no bytes)."""
    pairs = zip(result.of(f"{arm}psnr"), result.of(f"{arm}lpips-alex"), strict=True)
    return [{"length": a.length, "bytes": a.bytes, "psnr": a.value, "lpips": b.value, "n": a.images} for a, b in pairs]


if __name__ == "__main__":
    main()
