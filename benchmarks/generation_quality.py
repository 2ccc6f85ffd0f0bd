"""Evidence for a generator on held-out tokens and images.

python benchmarks/generation_quality.py GENERATOR --train TOKENS --heldout TOKENS --images SOURCE [--train-images SOURCE]
writes results/generation.json: bits per token with the right, another and no condition; MobileNet Frechet distance to
held-out images of samples and of ids drawn without a model; for labels, with --train-images, the accuracy of a linear
probe trained on real images, by length. Decoder noise is seeded by the image's number in every arm.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from common import write
from torch import Tensor

import openflextok as oft
from openflextok.convert.mobilenet import load_mobilenet
from openflextok.data.sources import open_source
from openflextok.evaluate import baselines
from openflextok.evaluate.frechet import frechet_distance
from openflextok.evaluate.probes import choose_probe
from openflextok.lengths import power_lengths
from openflextok.pixels import center_crop, to_float, to_uint8_tensor
from openflextok.token_sets.reader import open_token_set

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generator")
    for name in ("--train", "--heldout", "--images"):
        parser.add_argument(name, required=True)
    parser.add_argument("--train-images")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.5])
    parser.add_argument("--steps", default="fast")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "generation.json")
    options = parser.parse_args()
    generator = oft.load_generator(options.generator)
    tokenizer = oft.load(generator.config.tokenizer)
    generator.check_tokenizer(tokenizer)
    train, heldout = open_token_set(options.train), open_token_set(options.heldout)
    kind = generator.conditioner.kind
    said = heldout.label if kind == "labels" else heldout.caption
    chosen = [row for row in range(len(heldout)) if (said(row) or "").strip()]
    train_ids, ids, words = train.ids(range(len(train))), heldout.ids(chosen), [said(row) for row in chosen]
    others = [next(w for w in words[i + 1 :] + words[:i] if w != word) for i, word in enumerate(words)]
    rows: list[dict[str, object]] = []

    def note(**values: object) -> None:
        print(values, flush=True)
        rows.append(values)
        write(options.out, "generation", rows)  # what is measured stays, whatever happens later

    size = generator.config.gpt.codebook_size
    own_B, other_B, none_B = (bits(generator, ids, given) for given in (words, others, [None] * len(ids)))
    for name, found in {
        "uniform": baselines.uniform_bits(size),
        "unigram": baselines.unigram_bits(train_ids, ids, size),
        "unigram by position": baselines.position_unigram_bits(train_ids, ids, size),
        "generator, no condition": none_B.mean().item(),
        "generator, condition of another image": other_B.mean().item(),
        "generator, its condition": own_B.mean().item(),
    }.items():
        note(what="bits per held-out token", by=name, bits=found, n=len(ids))
    share = (own_B.mean(1) < other_B.mean(1)).float().mean().item()
    note(what="share of images likelier under their own condition than under another's", share=share, n=len(ids))

    network = load_mobilenet()

    def features(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([network(part) for part in images.split(BATCH)])

    def decoded(tokens: Tensor) -> Tensor:
        seeds = list(range(len(tokens)))
        parts = zip(tokens.split(BATCH), [seeds[i : i + BATCH] for i in range(0, len(seeds), BATCH)], strict=True)
        return torch.cat([tokenizer.decode(part, steps=options.steps, seed=seed) for part, seed in parts])

    real, real_labels = crops(options.images, tokenizer.image_size)
    real_features = features(real)
    samples = {f"generator, guidance {g}": generator.sample(**{kind: words}, guidance=g) for g in options.guidance}
    arms = {
        "held-out tokens": ids,
        **samples,
        "unigram ids": baselines.unigram_ids(train_ids, len(ids), seed=0),
        "uniform ids": baselines.uniform_ids(size, len(ids), ids.shape[1], seed=0),
    }
    if kind == "labels":
        labels = [train.label(row) for row in range(len(train))]
        shuffled = baselines.class_shuffled_ids(train_ids, labels, words, seed=0)
        arms["the class's ids, shuffled between images"] = shuffled
    for name, tokens in arms.items():
        distance = frechet_distance(features(decoded(tokens)), real_features)
        note(what="MobileNet Frechet distance to held-out images", of=name, distance=distance, n=len(tokens))
    if options.train_images:
        train_real, train_labels = crops(options.train_images, tokenizer.image_size)
        probe = choose_probe(features(train_real), [label or "" for label in train_labels])

        def named(features_ND: Tensor, labels: Sequence[str | None]) -> dict[str, float]:
            top1, top5 = (probe.accuracy(features_ND, [label or "" for label in labels], top) for top in (1, 5))
            return {"top1": top1.value, "top5": top5.value, "n": top1.n}

        note(what="probe accuracy", of="held-out images", **named(real_features, real_labels))
        for name, tokens in {"held-out tokens": ids, **samples}.items():
            for length in power_lengths(generator.num_tokens):
                found = named(features(decoded(tokens[:, :length])), words)
                note(what="probe accuracy", of=name, length=length, **found)


def bits(generator: oft.Generator, ids: Tensor, words: Sequence[str | None]) -> Tensor:
    """Bits of each token (B, N) under a condition."""
    kind = generator.conditioner.kind
    parts = [generator.score(ids[i : i + BATCH], **{kind: words[i : i + BATCH]}) for i in range(0, len(ids), BATCH)]
    return -torch.cat(parts) / math.log(2)


def crops(spec: str, size: tuple[int, int]) -> tuple[Tensor, list[str | None]]:
    """Centre crops (B, 3, H, W) in [-1, 1] and labels of a source."""
    examples = [source.read(i) for source in [open_source(spec)] for i in range(len(source))]
    return to_float(torch.stack([to_uint8_tensor(center_crop(e.image, size)) for e in examples])), [
        e.label for e in examples
    ]


if __name__ == "__main__":
    main()
