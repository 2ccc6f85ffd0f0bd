"""What captions do to samples: distances when caption or seed is swapped, retrieval by length, Frechet distances.

python benchmarks/caption_samples.py GENERATOR --train TOKENS --heldout TOKENS --images SOURCE --cache DIR
writes results/captions.json.

SOURCE holds the pictures that the held-out tokens came from, in their order. Features are MobileNetV2's, of a set less the
set's own mean where directions are compared, so that what the decoder does to all images does not count. Decoder noise is
seeded by the picture's number in every set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from common import write
from decoded_features import DecodedFeatures, crops
from torch import Tensor

import openflextok as oft
from openflextok.evaluate import baselines
from openflextok.evaluate.bootstrap import mean_interval
from openflextok.evaluate.frechet import frechet_distance
from openflextok.lengths import power_lengths
from openflextok.token_sets.reader import open_token_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generator")
    for name in ("--train", "--heldout", "--images"):
        parser.add_argument(name, required=True)
    parser.add_argument("--name", help="how to call the pictures in the results")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--guidance", type=float, help="the generator's own if not given")
    parser.add_argument("--lengths", type=int, nargs="+", help="1, 2, 4, ... if not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "captions.json")
    options = parser.parse_args()
    generator = oft.load_generator(options.generator)
    tokenizer = oft.load(generator.config.tokenizer)
    generator.check_tokenizer(tokenizer)
    train, heldout = open_token_set(options.train), open_token_set(options.heldout)
    chosen = [row for row in range(len(heldout)) if (heldout.caption(row) or "").strip()]
    ids, said = heldout.ids(chosen), [str(heldout.caption(row)) for row in chosen]
    kinds = [heldout.key(row).split("/")[0] for row in chosen]
    pictures, _, captions = crops(options.images, tokenizer.image_size)
    if [captions[row] for row in chosen] != said:
        raise SystemExit(f"{options.images} is not what {options.heldout} was made of")
    others = [next(w for w in said[i + 1 :] + said[:i] if w != word) for i, word in enumerate(said)]
    decoder, seeds = DecodedFeatures(tokenizer, options.cache), list(range(len(said)))
    real_ND = decoder.images(pictures[chosen])
    about = {"data": options.name or options.images, "n": len(said)}
    rows: list[dict[str, object]] = []

    def note(**values: object) -> None:
        rows.append(about | values)
        print(rows[-1], flush=True)
        write(options.out, "captions", rows)

    def full(tokens: Tensor) -> Tensor:
        return decoder.decoded(tokens, tokenizer.num_tokens, seeds)

    def frechet(of: str, features_ND: Tensor) -> None:
        note(
            what="MobileNet Frechet distance to held-out images", of=of, distance=frechet_distance(features_ND, real_ND)
        )

    size, train_ids = generator.config.gpt.codebook_size, train.ids(range(len(train)))
    frechet("held-out tokens", full(ids))
    none = generator.sample(count=len(said), guidance=1.0)
    frechet("generator, no caption", full(none))
    guidance = options.guidance or generator.config.guidance
    own, swapped, again = (
        generator.sample(captions=words, guidance=guidance, seed=first)
        for words, first in ((said, 0), (others, 0), (said, len(said)))
    )
    frechet(f"generator, guidance {guidance:g}", full(own))
    apart = {"another caption, same seed": swapped, "same caption, another seed": again}
    away = {name: distance(full(own), full(tokens)) for name, tokens in apart.items()}
    for name, distance_N in away.items():
        low, high = mean_interval(distance_N)
        mean = distance_N.mean().item()
        note(what="cosine distance of two samples", by=name, guidance=guidance, distance=mean, low=low, high=high)
    further_N = (away["another caption, same seed"] > away["same caption, another seed"]).double()
    low, high = mean_interval(further_N)
    what, share = "share of samples that another caption moves further than another seed", further_N.mean().item()
    note(what=what, guidance=guidance, share=share, low=low, high=high)

    def retrieve(of: str, tokens: Tensor, lengths: Sequence[int] = (tokenizer.num_tokens,), **values: object) -> None:
        for among, rivals in {"all pictures": None, "pictures of its kind": kinds}.items():
            shares = [retrieval(decoder.decoded(tokens, n, seeds), real_ND, said, rivals) for n in lengths]
            for length, share_N in zip(lengths, shares, strict=True):
                (low, high), (gain_low, gain_high) = mean_interval(share_N), mean_interval(shares[-1] - share_N)
                gain = (shares[-1] - share_N).mean().item()
                note(
                    what="nearer to its picture than to another", of=of, among=among, asked=len(share_N), length=length,
                    share=share_N.mean().item(), low=low, high=high,
                    gain_of_all=gain, gain_low=gain_low, gain_high=gain_high, **values,
                )  # fmt: skip

    retrieve("held-out tokens", ids)
    retrieve("generator, no caption", none)
    retrieve("generator, another's caption", swapped, guidance=guidance)
    retrieve("generator, its caption", own, options.lengths or power_lengths(tokenizer.num_tokens), guidance=guidance)
    frechet("generator, guidance 1", full(generator.sample(captions=said, guidance=1.0)))
    frechet("unigram ids", full(baselines.unigram_ids(train_ids, len(ids), seed=0)))
    frechet("uniform ids", full(baselines.uniform_ids(size, len(ids), ids.shape[1], seed=0)))


def distance(a_ND: Tensor, b_ND: Tensor) -> Tensor:
    """(N,) cosine distance of each pair, both sets less the mean of the two together."""
    mean_D = torch.cat([a_ND, b_ND]).mean(0)
    return 1 - F.cosine_similarity(a_ND - mean_D, b_ND - mean_D)


def retrieval(made_ND: Tensor, real_ND: Tensor, captions: Sequence[str], kinds: Sequence[str] | None = None) -> Tensor:
    """(n,) for each image i the share of pictures j, of other captions (and i's kind), that are farther than picture i.

    Images whose caption all of their kind share are left out.
    """
    made_ND, real_ND = (F.normalize(x_ND - x_ND.mean(0)) for x_ND in (made_ND, real_ND))
    near_NN = made_ND @ real_ND.T
    shares = []
    for i, caption in enumerate(captions):
        rivals = [j for j, c in enumerate(captions) if c != caption and (kinds is None or kinds[j] == kinds[i])]
        if rivals:
            shares.append((near_NN[i, i] > near_NN[i, rivals]).double().mean())
    return torch.stack(shares)


if __name__ == "__main__":
    main()
