"""How many tokens a class needs: a probe trained on decoded images reads reconstructions and samples by length.

python benchmarks/class_tokens.py GENERATOR --train TOKENS --heldout TOKENS --train-images SOURCE --images SOURCE
    --coarse META.jsonl --cache DIR [--passes 2] [--guidance 1 1.5 2.5] [--repeats 1]
writes results/class_tokens.json. Each pass decodes every training photo once, with another of its crops and from another
of the lengths 1, 2, 4, ..., N; one probe learns from all. Labels of samples are those of the held-out photos.
gain_of_all: how much more is named right with all tokens, image by image, with a bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from common import write
from decoded_features import DecodedFeatures, crops
from torch import Tensor

import openflextok as oft
from openflextok.evaluate.bootstrap import mean_interval
from openflextok.evaluate.probes import Share, choose_probe
from openflextok.lengths import power_lengths
from openflextok.token_sets.reader import TokenSet, open_token_set

DECAYS = (1.0, 0.1, 0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generator")
    for name in ("--train", "--heldout", "--train-images", "--images"):
        parser.add_argument(name, required=True)
    parser.add_argument(
        "--coarse", type=Path, required=True, help="meta.jsonl with a label and a coarse one on each line"
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--passes", type=int, default=2, help="decodings of each training photo")
    parser.add_argument("--repeats", type=int, default=1, help="samples for each held-out photo's label")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.5])
    parser.add_argument("--name", help="how to call the data in the results")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "class_tokens.json")
    options = parser.parse_args()
    generator = oft.load_generator(options.generator)
    tokenizer = oft.load(generator.config.tokenizer)
    generator.check_tokenizer(tokenizer)
    train, heldout = open_token_set(options.train), open_token_set(options.heldout)
    coarse = {row["label"]: row["coarse"] for row in map(json.loads, options.coarse.read_text().splitlines())}
    decoder, lengths = DecodedFeatures(tokenizer, options.cache), power_lengths(tokenizer.num_tokens)
    ids, words = heldout.ids(range(len(heldout))), [str(heldout.label(row)) for row in range(len(heldout))]
    about = {"data": options.name or options.images, "classes": len(train.classes)}
    rows: list[dict[str, object]] = []

    def note(probe: str, of: str, named: Sequence[str], right: Sequence[str], **values: object) -> None:
        pairs = list(zip(named, right, strict=True))
        fine = Share(sum(a == b for a, b in pairs), len(pairs))
        group = Share(sum(coarse[a] == coarse[b] for a, b in pairs), len(pairs))
        kind = {"coarse": group.value, "coarse_low": group.interval[0], "coarse_high": group.interval[1]}
        rows.append(about | {"probe": probe, "of": of} | values | fine.figures | kind)
        print(rows[-1], flush=True)
        write(options.out, "class_tokens", rows)

    real_train, train_labels, _ = crops(options.train_images, tokenizer.image_size)
    real_words, real_ND = [str(label) for label in train_labels], decoder.images(real_train)
    del real_train
    photos, photo_labels, _ = crops(options.images, tokenizer.image_size)
    photos_ND, right = decoder.images(photos), [str(label) for label in photo_labels]
    often = Counter(real_words).most_common(1)[0][0]
    rows.append(about | {"probe": "none", "of": "chance", "accuracy": 1 / len(train.classes)})
    note("none", "the most frequent class of the training photos", [often] * len(words), words)
    real = choose_probe(real_ND, real_words, decays=DECAYS)
    note("real photos", "held-out photos", real.names(photos_ND), right, decay=real.decay)

    passes = [training_features(decoder, train, lengths, number) for number in range(options.passes)]
    decoded_ND = torch.cat([found.features_ND for found in passes])
    decoded_words = [word for found in passes for word in found.labels]
    pictures = [picture for found in passes for picture in found.pictures]
    probe = choose_probe(decoded_ND, decoded_words, pictures, DECAYS)
    about |= {"training_images": len(decoded_words), "decay": probe.decay}
    note("decoded photos", "held-out photos", probe.names(photos_ND), right)

    def read(of: str, made: Sequence[Tensor], **values: object) -> None:
        wanted, named, top5 = words * len(made), {}, {}
        for length in lengths:
            parts = [decoder.decoded(part, length, seeds(number)) for number, part in enumerate(made)]
            made_ND = torch.cat(parts)
            named[length], top5[length] = probe.names(made_ND), probe.accuracy(made_ND, wanted, 5).value
        note("real photos", of, real.names(made_ND), wanted, length=lengths[-1], **values)
        right = {
            length: torch.tensor([a == b for a, b in zip(named[length], wanted, strict=True)]) for length in lengths
        }
        for length in lengths:
            more_N = right[lengths[-1]].double() - right[length].double()
            low, high = mean_interval(more_N)
            gain = {"gain_of_all": more_N.mean().item(), "gain_low": low, "gain_high": high}
            note("decoded photos", of, named[length], wanted, length=length, top5=top5[length], **gain, **values)

    def seeds(number: int) -> list[int]:
        return list(range(number * len(words), (number + 1) * len(words)))

    read("held-out photos' tokens", [ids])
    for guidance in options.guidance:
        numbers = range(options.repeats)
        made = [generator.sample(labels=words, guidance=guidance, seed=seeds(number)) for number in numbers]
        read("samples", made, guidance=guidance)


@dataclass(frozen=True)
class Decoded:
    """Features of decoded training photos."""

    features_ND: Tensor
    labels: list[str]
    pictures: list[str]


def training_features(decoder: DecodedFeatures, tokens: TokenSet, lengths: tuple[int, ...], number: int) -> Decoded:
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
    return Decoded(torch.cat(parts), [str(tokens.label(row)) for row in order], [tokens.key(row) for row in order])


if __name__ == "__main__":
    main()
