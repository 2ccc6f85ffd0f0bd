"""A generator against a reference set: as many new images as there are real ones, with their classes or captions.

    words of the real images -> generator -> ids -> decode(length, seed) -> 8 bits -> features | against the real ones
    real crops -> encode -> ids -> bits per token under the generator
                                -> decode -> features ("tokens-": what the tokenizer alone loses: the ceiling)
    as many training crops -> features            ("train-": what real images of the same kind get: the floor of N)

Shapes: B images, C channels, H height, W width, L lengths, S seeds, N tokens.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from openflextok.data.base import Words
from openflextok.evaluate import measuring
from openflextok.evaluate.bootstrap import mean_interval
from openflextok.evaluate.figures import Arm, code_figures, seconds_figures, set_figures
from openflextok.evaluate.job import Job, Plan
from openflextok.evaluate.measuring import STREAMS, Instruments, decode_all
from openflextok.evaluate.metric_table import Chosen
from openflextok.evaluate.parts import Part, Parts
from openflextok.evaluate.reconstruct import LN2, NO_INTERVAL, Wanted, generator_digest
from openflextok.evaluate.reference import Reference, ReferenceBatch, Survey
from openflextok.evaluate.results import Figure, Result, Setting, Subject
from openflextok.generators.generator import Generator
from openflextok.pixels import to_float
from openflextok.tokenizer import Tokenizer, weights_digest

SCORES = {"bits_per_token": "its condition", "bits_per_token_unconditional": "no condition"}


@dataclass(frozen=True)
class Sampling:
    """How ids are drawn: options of `Generator.sample`; what is not named is the generator's own choice."""

    options: tuple[tuple[str, Any], ...] = field(default=())

    def settings(self, generator: Generator) -> tuple[Setting, ...]:
        """As the card names them."""
        given = dict(self.options)
        others = [Setting(f"sampling {name}", str(value)) for name, value in given.items() if name != "guidance"]
        own = f"the generator's own: {generator.config.guidance}"
        return Setting("sampling guidance", str(given.get("guidance", own))), *others


class Generation(Job):
    """The measurement of one generator against one reference set."""

    def __init__(
        self,
        name: str,
        generator: Generator,
        tokenizer: Tokenizer,
        reference: Reference,
        survey: Survey,
        wanted: Wanted,
        chosen: Chosen,
        sampling: Sampling,
        networks: Sequence[str] = ("mobilenet-v2",),
        train: Reference | None = None,
    ) -> None:
        """name: of the generator; train: real images it learned from, compared with the reference as its samples are.

        Raises ValueError for another tokenizer, metrics of pairs, sizes that differ, lengths or seeds out of range.
        """
        generator.check_tokenizer(tokenizer)
        wanted.check(generator.num_tokens)
        if chosen.pairs:
            raise ValueError(f"{', '.join(chosen.pairs)} compare an image with its rebuilding: new images have none")
        for other in (reference, *([train] if train else [])):
            measuring.check_size(other, tokenizer)
        self.generator, self.tokenizer, self.reference, self.train = generator, tokenizer, reference, train
        self.wanted, self.sampling, self.survey = wanted, sampling, survey
        words = words_of(generator, reference)
        self.bare = words.count(None)
        learned = None if train is None else train.survey()
        fewest = min(survey.images, survey.images if learned is None else learned.images)
        self.tools = Instruments.load(chosen, networks, reference.image_size, fewest, tokenizer.device)
        self.shown = measuring.shown_places(len(reference))
        against = []
        if train is not None and learned is not None:
            against = [Setting("train", f"{train.spec}, {train.split}, pixels {learned.sha256[:16]}")]
        weights = weights_digest(generator), weights_digest(tokenizer)
        self.plan = Plan(
            reference.protocol("generate", survey),
            Subject(
                name,
                "generator",
                tokenizer.fingerprint(),
                (
                    *sampling.settings(generator),
                    Setting("generator", generator_digest(generator)[:16]),
                    *wanted.settings(tokenizer, weights[1]),
                    Setting("generator weights", weights[0][:16]),
                    *against,
                    Setting("words", digest_of(words)),
                ),
            ),
            weights,
            wanted.lengths,
            wanted.seeds,
            (*chosen.sets, *chosen.tokens),
            self.tools.networks,
            wanted.batch,
        )

    # -- one stretch --------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def part(self, stretch: ReferenceBatch) -> Part:
        part = Part()
        if not stretch.places:
            return part
        kind, wanted = self.generator.conditioner.kind, self.wanted
        words = [condition(self.generator, each) for each in stretch.words]
        real_BCHW = to_float(stretch.pixels_BHWC).to(self.tokenizer.device)
        ids_BN = self.tokenizer.encode(real_BCHW).ids
        for name, given in zip(SCORES, (words, [None] * len(words)), strict=True):
            part.tokens[name] = -self.generator.score(ids_BN, **{kind: given}).cpu() / LN2
        made, seconds, sampled = [], [], []
        for seed in wanted.seeds:
            begin = time.perf_counter()
            sampled.append(self.sample(words, [seed * STREAMS + place for place in stretch.places]).cpu())
            sampling = (time.perf_counter() - begin) / len(words)
            images, decoding = self.decode(sampled[-1], (seed,), stretch.places)
            made.append(images)
            seconds.append(decoding)
            part.values.setdefault("sample_seconds", torch.full((1, 1, len(words)), sampling, dtype=torch.float64))
        made_LSBCHW, part.values["decode_seconds"] = torch.cat(made, dim=1), torch.cat(seconds, dim=1)
        part.tokens["ids"] = sampled[0]
        self.tools.look_at_real(part, real_BCHW)
        self.tools.look(part, "", made_LSBCHW)
        if self.tools.extractors:
            self.tools.look(part, "tokens-", self.decode(ids_BN, wanted.seeds[:1], stretch.places)[0])
            self.look_at_train(part, stretch)
        measuring.keep_pictures(part, stretch, self.shown, wanted.lengths, made_LSBCHW)
        return part

    def sample(self, words: Sequence[str | None], streams: Sequence[int]) -> Tensor:
        """Ids (B, longest length)."""
        kind, longest = self.generator.conditioner.kind, max(self.wanted.lengths)
        options = dict(self.sampling.options)
        return self.generator.sample(**{kind: list(words)}, length=longest, seed=list(streams), **options)

    def decode(self, ids_BN: Tensor, seeds: Sequence[int], places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (L,S,B,C,H,W), and seconds."""
        wanted = self.wanted
        return decode_all(self.tokenizer, ids_BN, wanted.lengths, seeds, places, dict(wanted.options))

    def look_at_train(self, part: Part, stretch: ReferenceBatch) -> None:
        """Add to a part the features of the training images at the places of this stretch."""
        if self.train is None:
            return
        first = stretch.places[0] // self.wanted.batch * self.wanted.batch
        for found in self.train.batches(self.wanted.batch, start=first, end=first + self.wanted.batch):
            if found.places:
                self.tools.look(part, "train-", to_float(found.pixels_BHWC)[None, None].to(self.tokenizer.device))

    # -- all of them --------------------------------------------------------------------------------------------

    def result(self, parts: Parts) -> tuple[Result, Image.Image | None]:
        lengths = self.wanted.lengths
        sizes = measuring.sizes(self.tokenizer, lengths)
        arms = [Arm("", lengths, sizes, paired=False), Arm("tokens-", lengths, sizes, paired=True)]
        if self.train is not None:
            arms.append(Arm("train-", (None,), (None,), paired=False))
        figures: list[Figure] = []
        for arm in arms:
            for extractor in self.tools.extractors:
                figures += set_figures(parts, arm, self.tools.sets, extractor.network)
        made = {"bits": lambda: self.score_figures(parts), "codes": lambda: self.code_figures(parts)}
        figures += [figure for name in self.tools.chosen.tokens for figure in made[name]()]
        figures += seconds_figures(parts, "decode_seconds", arms[0])
        figures += seconds_figures(parts, "sample_seconds", Arm("", (max(lengths),), (None,), paired=False))
        result = Result(self.plan.protocol, self.plan.subject, tuple(figures), self.notes(figures))
        return result, measuring.picture(parts, "reference", lengths)

    def score_figures(self, parts: Parts) -> list[Figure]:
        """Bits per token of the reference's own tokens, over the first tokens of each length."""
        found = []
        for name in SCORES:
            bits_RN = parts.tokens(name).double()
            for length in self.wanted.lengths:
                bits_R = bits_RN[:, :length].mean(1)
                low, high = mean_interval(bits_R)
                found.append(Figure(name, bits_R.mean().item(), len(bits_R), low, high, length=length))
        bits = math.log2(self.tokenizer.quantizer.codebook_size)
        return [*found, Figure("bits_per_token_uniform", bits, len(parts.tokens(name)))]

    def code_figures(self, parts: Parts) -> list[Figure]:
        """How the codes of the samples of the first seed are used."""
        return code_figures(parts.tokens("ids"), self.tokenizer.quantizer.codebook_size, self.wanted.lengths)

    def notes(self, figures: Sequence[Figure] = ()) -> tuple[str, ...]:
        """What a reader must know of the figures."""
        found = [*self.tools.notes, *(f"unreadable: {line}" for line in self.survey.unreadable)]
        kind = self.generator.conditioner.kind
        found.append(f"sample i has the {kind} of reference image i")
        if self.bare:
            found.append(
                f"{self.bare} of {len(self.reference)} reference images have no {kind}: no condition for theirs"
            )
        if self.tools.sets:
            found.append(f"set distances are to the reference's images, whose words were used; {NO_INTERVAL}")
            found.append("tokens-*: the reference's own tokens decoded: what the tokenizer alone loses")
        trained = {figure.images for figure in figures if figure.metric.startswith("train-")}
        found += [
            f"train-*: {count} real training images against the reference, without any model" for count in trained
        ]
        if "codes" in self.tools.chosen.tokens:
            found.append(f"codes_used, perplexity and token_* are of the samples of seed {self.wanted.seeds[0]}")
        return (*found, *measuring.run_notes(self.wanted.batch, self.wanted.seeds, self.tokenizer.device))


def condition(generator: Generator, words: Words) -> str | None:
    """What the generator is told of an image; an empty label or caption is none."""
    return generator.conditioner.wanted(words.label, words.caption) or None


def words_of(generator: Generator, reference: Reference) -> list[str | None]:
    """What the generator is told of each image of the reference; ValueError, before the work, for words it does not take."""
    words = [condition(generator, reference.source.words(number)) for number in reference.indices]
    for each in dict.fromkeys(words):
        try:
            generator.conditioner.prepare([each])
        except ValueError as error:
            name = reference.source.name(reference.indices[words.index(each)])
            raise ValueError(f"{reference.spec}, {name}: {error}") from None
    return words


def digest_of(words: Sequence[str | None]) -> str:
    """Tells the conditions of two reference sets apart: their pixels may be equal."""
    return f"SHA-256 {hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]}"
