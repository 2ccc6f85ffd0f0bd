"""A tokenizer on a set of images: every length and seed, compared with the originals.

    crops uint8 -> encode -> ids -> truncate(length) -> decode(seed) -> 8 bits -> metrics against the crops

Figures that begin with "space-" are of the latent space alone, without tokens: the ceiling.

Shapes: B images, C channels, H height, W width, L lengths, S decode seeds, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from openflextok.config import config_digest
from openflextok.evaluate import measuring
from openflextok.evaluate.figures import Arm, bits_figures, code_figures, pair_figures, seconds_figures, set_figures
from openflextok.evaluate.job import Job, Plan
from openflextok.evaluate.measuring import Instruments, decode_all, through_space
from openflextok.evaluate.metric_table import Chosen
from openflextok.evaluate.parts import Part, Parts
from openflextok.evaluate.reference import Reference, ReferenceBatch, Survey
from openflextok.evaluate.results import Figure, Network, Result, Setting, Subject
from openflextok.generators.generator import Generator
from openflextok.pixels import to_float
from openflextok.tokenizer import Tokenizer, weights_digest

LN2 = math.log(2)
NAMED = ("steps", "guidance")  # options that a card names even where they were not given


@dataclass(frozen=True)
class Wanted:
    """What to measure of a tokenizer."""

    lengths: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    options: tuple[tuple[str, Any], ...] = ()
    """Of the decoder: ("steps", 20), ...; what is not named is the decoder's own choice."""
    batch: int = 16

    def check(self, most: int) -> None:
        """ValueError for lengths a tokenizer of `most` tokens does not have, or nothing to do."""
        bad = [length for length in self.lengths if not 1 <= length <= most]
        if bad or not self.lengths:
            raise ValueError(f"cannot measure at lengths {bad or self.lengths}: allowed is 1 <= length <= {most}")
        if len(set(self.lengths)) < len(self.lengths):
            raise ValueError(f"cannot measure at lengths {self.lengths}: give different ones")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds) or self.batch < 1:
            raise ValueError(
                f"seeds {self.seeds}, batch {self.batch}: give different seeds of 0 or more, batch 1 or more"
            )

    def settings(self, tokenizer: Tokenizer, weights: str) -> tuple[Setting, ...]:
        """As the card names them: what is known of the tokenizer's decoder, what was given, and its `weights_digest`.

        The fingerprint is of what ids depend on: decoders may differ under it, and under equal weights too.
        """
        given, config = dict(self.options), tokenizer.config.decoder
        named = [name for name in NAMED if name in tokenizer.decoder.options]
        own = {name: f"the decoder's own: {value}" for name, value in vars(config).items()}
        found = [Setting(name, str(given.get(name, own.get(name, "the decoder's own")))) for name in named]
        found += [Setting(name, str(value)) for name, value in given.items() if name not in named]
        found += [Setting("decode seeds", ",".join(map(str, self.seeds)))]
        return (*found, Setting("decoder", config_digest(config)[:16]), Setting("weights", weights[:16]))


def generator_digest(generator: Generator) -> str:
    """Over all settings of a generator; where its tokenizer lies is none."""
    return config_digest(replace(generator.config, tokenizer=""))


class Reconstruction(Job):
    """The measurement of one tokenizer against one reference set."""

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        reference: Reference,
        survey: Survey,
        wanted: Wanted,
        chosen: Chosen,
        networks: Sequence[str] = ("mobilenet-v2",),
        generator: Generator | None = None,
    ) -> None:
        """name: of the tokenizer; networks: for set distances; generator: whose probabilities give bits, too.

        Raises ValueError for lengths or seeds out of range, sizes that differ, or a generator of other ids.
        """
        wanted.check(tokenizer.num_tokens)
        measuring.check_size(reference, tokenizer)
        if generator is not None:
            generator.check_tokenizer(tokenizer)
        self.tokenizer, self.reference, self.wanted, self.generator = tokenizer, reference, wanted, generator
        self.tools = Instruments.load(chosen, networks, reference.image_size, survey.images, tokenizer.device)
        self.shown = measuring.shown_places(len(reference))
        self.survey = survey
        weights = [weights_digest(module) for module in (tokenizer, generator) if module is not None]
        self.scorer = None if generator is None else Network.of("generator", weights[1], generator_digest(generator))
        self.plan = Plan(
            reference.protocol("reconstruct", survey),
            Subject(name, "tokenizer", tokenizer.fingerprint(), wanted.settings(tokenizer, weights[0])),
            tuple(weights),
            wanted.lengths,
            wanted.seeds,
            (*chosen.pairs, *chosen.sets, *chosen.tokens),
            (*self.tools.networks, *([self.scorer] if self.scorer else [])),
            wanted.batch,
        )

    # -- one stretch --------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def part(self, stretch: ReferenceBatch) -> Part:
        part = Part()
        if not stretch.places:
            return part
        original_BCHW = to_float(stretch.pixels_BHWC).to(self.tokenizer.device)
        tokens = self.tokenizer.encode(original_BCHW)
        wanted = self.wanted
        made_LSBCHW, part.values["decode_seconds"] = decode_all(
            self.tokenizer, tokens, wanted.lengths, wanted.seeds, stretch.places, dict(wanted.options)
        )
        ceiling_LSBCHW = through_space(self.tokenizer, original_BCHW)
        self.tools.look_at_real(part, original_BCHW)
        for arm, images_LSBCHW in (("", made_LSBCHW), ("space-", ceiling_LSBCHW)):
            self.tools.compare(part, arm, original_BCHW, images_LSBCHW)
            self.tools.look(part, arm, images_LSBCHW)
        if tokens.ids_BN is not None:
            part.tokens["ids"] = tokens.ids_BN.cpu()
            if self.generator is not None:
                part.tokens["bits_generator"] = -self.generator.score(tokens.ids_BN).cpu() / LN2
        measuring.keep_pictures(part, stretch, self.shown, wanted.lengths, made_LSBCHW)
        return part

    # -- all of them --------------------------------------------------------------------------------------------

    def result(self, parts: Parts) -> tuple[Result, Image.Image | None]:
        arms = self.arms()
        figures: list[Figure] = []
        for arm in arms:
            for metric, measure in self.tools.pairs.items():
                figures += pair_figures(parts, arm, metric, measure.network)
            for extractor in self.tools.extractors:
                figures += set_figures(parts, arm, self.tools.sets, extractor.network)
        figures += self.token_figures(parts)
        figures += seconds_figures(parts, "decode_seconds", arms[0])
        result = Result(self.plan.protocol, self.plan.subject, tuple(figures), self.notes(parts))
        return result, measuring.picture(parts, "original", self.wanted.lengths)

    def arms(self) -> tuple[Arm, Arm]:
        """The rebuilt images at each length, and the ceiling."""
        lengths = self.wanted.lengths
        sizes = measuring.sizes(self.tokenizer, lengths)
        return Arm("", lengths, sizes, paired=True), Arm("space-", (None,), (None,), paired=True)

    def token_figures(self, parts: Parts) -> list[Figure]:
        """How codes are used and what they cost; nothing for continuous tokens."""
        if not self.tools.chosen.tokens or not parts.has("tokens", "ids"):
            return []
        ids_RN, size, lengths = parts.tokens("ids"), self.tokenizer.quantizer.codebook_size, self.wanted.lengths
        scores = {"bits_generator": parts.tokens("bits_generator")} if self.generator is not None else {}
        made = {
            "codes": lambda: code_figures(ids_RN, size, lengths),
            "bits": lambda: bits_figures(ids_RN, size, lengths, scores, self.scorer),
        }
        return [figure for name in self.tools.chosen.tokens for figure in made[name]()]

    def notes(self, parts: Parts) -> tuple[str, ...]:
        """What a reader must know of the figures."""
        found = [*self.tools.notes, *(f"unreadable: {line}" for line in self.survey.unreadable)]
        if self.tools.sets:
            found.append(f"set distances are to the originals of these very images; {NO_INTERVAL}")
        if not parts.has("tokens", "ids"):
            found.append("tokens are continuous: no figures of codes or bits")
        elif self.tools.chosen.tokens:
            found += [TOKEN_NOTES[name] for name in self.tools.chosen.tokens]
        return (*found, *measuring.run_notes(self.wanted.batch, self.wanted.seeds, self.tokenizer.device))


NO_INTERVAL = "they have no interval, as resampling biases them"
TOKEN_NOTES = {
    "codes": "codes_used and perplexity cannot exceed the number of tokens measured; token_* are of one token, numbered "
    "by length",
    "bits": "bits_order0: ideal adaptive code for each position over this very stream, the learning included",
}
