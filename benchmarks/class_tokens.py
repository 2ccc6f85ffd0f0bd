"""How many tokens a class needs: a probe trained on decoded images reads reconstructions and samples by length.

python benchmarks/class_tokens.py GENERATOR --train TOKENS --heldout TOKENS --train-images SOURCE --images SOURCE
    --coarse META.jsonl --cache DIR [--passes 2] [--guidance 1 1.5 2.5] [--repeats 1]
writes results/class_tokens.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from decoded_features import DecodedFeatures
from torch import Tensor

import openflextok as oft
from openflextok.lengths import power_lengths
from openflextok.token_sets.reader import TokenSet, open_token_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generator")
    for name in ("--train", "--heldout", "--train-images", "--images"):
        parser.add_argument(name, required=True)
    parser.add_argument("--coarse", type=Path, help="meta.jsonl with label and coarse label")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--passes", type=int, default=2, help="decodings of each training photo")
    parser.add_argument("--repeats", type=int, default=1, help="samples for each held-out photo's label")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.5])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "class_tokens.json")
    options = parser.parse_args()
    generator = oft.load_generator(options.generator)
    tokenizer = oft.load(generator.config.tokenizer)
    generator.check_tokenizer(tokenizer)
    train, heldout = open_token_set(options.train), open_token_set(options.heldout)
    decoder = DecodedFeatures(tokenizer, options.cache)
    lengths = power_lengths(tokenizer.num_tokens)

    for number in range(options.passes):
        features, labels = training_features(decoder, train, lengths, number)
        print(number, features.shape, decoder.made, decoder.seconds, flush=True)
    ids, words = heldout.ids(range(len(heldout))), [heldout.label(row) for row in range(len(heldout))]
    for length in lengths:
        decoder.decoded(ids, length, list(range(len(ids))))
        print("recon", length, decoder.made, decoder.seconds, flush=True)
    for guidance in options.guidance:
        for repeat in range(options.repeats):
            seeds = [repeat * len(words) + i for i in range(len(words))]
            made = generator.sample(labels=words, guidance=guidance, seed=seeds)
            for length in lengths:
                decoder.decoded(made, length, seeds)
            print("samples", guidance, decoder.made, decoder.seconds, flush=True)


def training_features(
    decoder: DecodedFeatures, tokens: TokenSet, lengths: tuple[int, ...], number: int
) -> tuple[Tensor, list[str | None]]:
    """Features of every training photo once, each pass with another crop and another length."""
    pictures: dict[str, list[int]] = {}
    for row in range(len(tokens)):
        pictures.setdefault(tokens.key(row), []).append(row)
    rows = [crops[(i + number) % len(crops)] for i, crops in enumerate(pictures.values())]
    parts, order = [], []
    for place, length in enumerate(lengths):
        mine = [row for i, row in enumerate(rows) if (i + 3 * number) % len(lengths) == place]
        parts.append(decoder.decoded(tokens.ids(mine), length, mine))
        order += mine
    return torch.cat(parts), [tokens.label(row) for row in order]


if __name__ == "__main__":
    main()
