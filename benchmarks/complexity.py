"""How many tokens images of different complexity need: shortest lengths by target, against bytes of lossless WebP.

python benchmarks/complexity.py SOURCE [SOURCE ...] [--name NAME ...] [--count 148] [--curves 24]    writes results/complexity.json

Targets are the medians over all images at `--at` tokens. Bisection is checked on the full curves of the first --curves
images, evenly spread, of each source.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import write
from decoded_features import crops
from torch import Tensor

import openflextok as oft
from openflextok.convert.lpips import load_lpips
from openflextok.convert.mobilenet import load_mobilenet
from openflextok.evaluate.adaptive import (
    PrefixDistances,
    gradient_energy,
    rises,
    shortest_lengths,
    shortest_of_curve,
    spearman,
    spearman_interval,
    webp_bytes,
)
from openflextok.evaluate.metrics import psnr
from openflextok.lengths import power_lengths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--name", nargs="*", help="how to call the sources in the results")
    parser.add_argument("--count", type=int, default=10**9, help="images per source, evenly spread")
    parser.add_argument("--curves", type=int, default=24)
    parser.add_argument("--at", type=int, default=16)
    parser.add_argument("--steps", default="fast")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "complexity.json")
    options = parser.parse_args()
    tokenizer, perceptual, network = oft.load(), load_lpips("alex"), load_mobilenet()

    def feature_distance(a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
        return 1 - torch.cosine_similarity(network(a_BCHW), network(b_BCHW))

    measures = {
        "PSNR": lambda a, b: -psnr(a, b.float()),
        "LPIPS (alex)": lambda a, b: perceptual(a, b.float()),
        "MobileNet cosine distance": lambda a, b: feature_distance(a, b.float()),
    }
    rows: list[dict[str, object]] = []

    def note(**values: object) -> None:
        rows.append(values)
        print(values, flush=True)
        write(options.out, "complexity", rows)

    for name, spec in zip(options.name or options.sources, options.sources, strict=True):
        start = time.perf_counter()
        images, _, _ = crops(spec, tokenizer.image_size)
        images = images[spread(len(images), options.count)]
        chosen = spread(len(images), options.curves)
        found = PrefixDistances(Bf16(tokenizer), images, list(measures.values()), steps=options.steps)  # pyright: ignore
        middle_M = found.at(torch.full((len(images),), options.at)).median(0).values
        lengths = {
            measure: shortest_lengths(column(found, i), middle_M[i].item(), len(images), tokenizer.num_tokens)
            for i, measure in enumerate(measures)
        }
        seconds = round(time.perf_counter() - start)
        print(name, {m: v.tolist() for m, v in lengths.items()}, seconds, flush=True)
        for length in range(1, tokenizer.num_tokens + 1):
            wanted = torch.zeros(len(images), dtype=torch.int64)
            wanted[chosen] = length
            found.at(wanted)
        complexity = {"bytes of lossless WebP": webp_bytes(images), "mean squared gradient": gradient_energy(images)}
        powers = power_lengths(tokenizer.num_tokens)
        for i, (measure, length_B) in enumerate(lengths.items()):
            target, curve_BN = middle_M[i].item(), found.known_BNM[chosen, :, i]
            exact_B = shortest_of_curve(curve_BN, target)
            reached = length_B <= tokenizer.num_tokens
            about = {"data": name, "measure": measure, "target": abs(target), "images": len(images)}
            quarters = [
                round(q) for q in torch.quantile(length_B.double(), torch.tensor([0.25, 0.5, 0.75]).double()).tolist()
            ]
            note(**about, what="lengths", quartiles=quarters, reached=reached.float().mean().item(), seconds=seconds)
            apart = (length_B[chosen] - exact_B).abs().double()
            note(
                **about | {"images": len(chosen)}, what="bisection against every length",
                rises=rises(curve_BN), rises_of_powers=rises(curve_BN, powers),
                equal=(apart == 0).double().mean().item(), mean_difference=apart.mean().item(),
            )  # fmt: skip
            for kind, values in complexity.items():
                low, high = spearman_interval(values.double(), length_B.double())
                note(
                    **about, what="Spearman's correlation of length with", complexity=kind,
                    spearman=spearman(values.double(), length_B.double()).item(), low=low, high=high,
                )  # fmt: skip


def spread(images: int, count: int) -> Tensor:
    """Numbers of `count` of the images, evenly spaced."""
    return torch.arange(0, images, max(1, images // count))[:count]


def column(distances: PrefixDistances, measure: int) -> Callable[[Tensor], Tensor]:
    return lambda length_B: distances.at(length_B)[:, measure]


class Bf16:
    """A tokenizer that decodes under bf16 autocast, and encodes in float32."""

    def __init__(self, tokenizer: oft.Tokenizer) -> None:
        self.tokenizer, self.encode = tokenizer, tokenizer.encode

    def decode(self, ids: Tensor, **options: object) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.tokenizer.decode(ids, **options)  # pyright: ignore


if __name__ == "__main__":
    main()
