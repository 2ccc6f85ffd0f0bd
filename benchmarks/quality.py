"""The reconstruction curve of a checkpoint on held-out images: PSNR and LPIPS by length.

python benchmarks/quality.py SOURCE [SOURCE ...] --count 64 [--checkpoint NAME] [--guidance none] [--steps 20 ...]
    [--lengths 8 64] [--out FILE]
prints a table per source and number of steps, with seconds, and writes results/quality.json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from common import write

import openflextok as oft
from openflextok.cli.common import parse_guidance_option
from openflextok.convert.lpips import load_lpips
from openflextok.data.sources import open_source
from openflextok.evaluate.reconstruction import reconstruction_curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--count", type=int, default=64, help="images per source, evenly spread")
    parser.add_argument("--checkpoint")
    parser.add_argument("--guidance", default="default")
    parser.add_argument("--steps", type=int, nargs="+", default=[20])
    parser.add_argument("--lengths", type=int, nargs="*", help="1, 2, 4, ... if not given")
    parser.add_argument("--name", nargs="*", help="how to call the sources in the results")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "quality.json")
    options = parser.parse_args()
    tokenizer, perceptual = oft.load(options.checkpoint), load_lpips("alex")
    rows = []
    for name, spec in zip(options.name or options.sources, options.sources, strict=True):
        source = open_source(spec)
        indices = range(0, len(source), max(1, len(source) // options.count))[: options.count]
        images = [source.read(index).image for index in indices]
        guidance = parse_guidance_option(options.guidance)
        for steps in options.steps:
            start = time.perf_counter()
            curve = reconstruction_curve(
                tokenizer, images, options.lengths, steps=steps, guidance=guidance, perceptual=perceptual
            )
            seconds = round(time.perf_counter() - start, 1)
            print(f"{name}, {len(images)} images, {steps} steps, guidance {options.guidance}, {seconds} s\n")
            print(curve.markdown(), flush=True)
            about = {"source": name, "guidance": options.guidance, "steps": steps, "seconds": seconds}
            rows += [about | asdict(r) for r in (*curve.rows, curve.space)]
    print(json.dumps(rows[0]))
    write(options.out, "quality", rows)


if __name__ == "__main__":
    main()
