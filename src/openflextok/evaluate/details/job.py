"""A tokenizer on the words or faces of a set of images, by their height: every length and seed, and the space alone.

    crops uint8 -> find -> items        pictures without any are not decoded
    crops -> encode -> truncate(length) -> decode(seed) -> 8 bits -> score at the boxes of the originals

A figure stands once over all items, and once for each octave of heights: "word_accuracy@1/8" is of those from 1/8 of the
picture's height up to 1/4.

Shapes: B images, I items, F figures, L lengths, S decode seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from openflextok.evaluate.bootstrap import mean_interval
from openflextok.evaluate.details.boxes import in_order, octave
from openflextok.evaluate.details.checks import Check, Item
from openflextok.evaluate.figures import mean_and_spread
from openflextok.evaluate.job import Job, Plan
from openflextok.evaluate.measuring import (
    SHOWN,
    Instruments,
    check_size,
    decode_all,
    keep_pictures,
    picture,
    sizes,
    through_space,
)
from openflextok.evaluate.metric_table import Chosen
from openflextok.evaluate.parts import Part, Parts
from openflextok.evaluate.reconstruct import Wanted
from openflextok.evaluate.reference import Reference, ReferenceBatch, Survey
from openflextok.evaluate.results import Figure, Network, Result, Subject
from openflextok.pixels import to_float, to_pil
from openflextok.tokenizer import Tokenizer, weights_digest

SPACE = "space-"


class DetailJob(Job):
    """The measurement of one tokenizer with one check."""

    def __init__(
        self, name: str, tokenizer: Tokenizer, reference: Reference, survey: Survey, wanted: Wanted, check: Check[Any]
    ) -> None:
        """name: of the tokenizer. Raises ValueError for lengths or seeds out of range, or sizes that differ."""
        wanted.check(tokenizer.num_tokens)
        check_size(reference, tokenizer)
        self.tokenizer, self.reference, self.wanted, self.check = tokenizer, reference, wanted, check
        self.tools = Instruments.load(Chosen(), (), reference.image_size, survey.images, tokenizer.device)
        self.survey = survey
        weights = weights_digest(tokenizer)
        settings = *wanted.settings(tokenizer, weights), *check.settings
        self.plan = Plan(
            reference.protocol("reconstruct", survey),
            Subject(name, "tokenizer", tokenizer.fingerprint(), settings),
            (weights,),
            wanted.lengths,
            wanted.seeds,
            check.figures,
            check.networks,
            wanted.batch,
        )

    @torch.inference_mode()
    def part(self, stretch: ReferenceBatch) -> Part:
        part = Part()
        found = self.check.find(stretch) if stretch.places else []
        if not found:
            return part
        chosen, items = with_items(stretch, found)
        original_BCHW = to_float(chosen.pixels_BHWC).to(self.tokenizer.device)
        wanted, tokens = self.wanted, self.tokenizer.encode(original_BCHW)
        made_LSBCHW, _ = decode_all(
            self.tokenizer, tokens, wanted.lengths, wanted.seeds, chosen.places, dict(wanted.options)
        )
        ceiling_LSBCHW = through_space(self.tokenizer, original_BCHW)
        for arm, images_LSBCHW in (("", made_LSBCHW), (SPACE, ceiling_LSBCHW)):
            scores = [self.check.score(items, to_pil(made_BCHW)) for made_BCHW in images_LSBCHW.flatten(0, 1)]
            values_LSIF = torch.stack(scores).unflatten(0, images_LSBCHW.shape[:2])
            for figure, values_LSI in zip(self.check.figures, values_LSIF.unbind(-1), strict=True):
                part.values[arm + figure] = values_LSI
        heights = [[float(chosen.places[item.row]), item.share] for item in items]
        part.features["items"] = torch.tensor(heights, dtype=torch.float64)
        part.features.update(self.check.alone(items, to_pil(original_BCHW)))
        turn = stretch.places[0] // wanted.batch % len(chosen.places)  # not the same kind of picture of every part
        keep_pictures(part, chosen, frozenset(chosen.places[turn : turn + 1]), wanted.lengths, made_LSBCHW)
        return part

    def result(self, parts: Parts) -> tuple[Result, Image.Image | None]:
        """The figures; ValueError that says what was looked at where no part has a word or a face."""
        if not parts.has("features", "items"):
            height, width = self.reference.image_size
            raise ValueError(
                f"no {self.check.noun} in {self.survey.images} pictures of {self.reference.spec} at {height} x {width} "
                f"pixels: looked for were {self.check.noun} {self.check.sought}"
            )
        buckets = [octave(share) for share in parts.real_features("items")[:, 1].tolist()]
        network, lengths, figures = self.check.networks[0], self.wanted.lengths, []
        for name in self.check.figures:
            for values_SI, length, size in zip(
                parts.values(name), lengths, sizes(self.tokenizer, lengths), strict=True
            ):
                figures += by_height(name, values_SI, buckets, network, length, size)
        for name in self.check.figures:
            figures += by_height(SPACE + name, parts.values(SPACE + name)[0], buckets, network)
        for name, values_I in self.check.references(parts).items():
            figures += by_height(name, values_I[None], buckets, network)
        kept = len(parts.pictures("original"))
        shown = picture(parts, "original", lengths, slice(None, None, -(-kept // SHOWN)))
        return Result(self.plan.protocol, self.plan.subject, tuple(figures), self.notes(buckets)), shown

    def notes(self, buckets: Sequence[str]) -> tuple[str, ...]:
        """How many there are of each height, and what must be known of the figures."""
        counts = Counter(buckets)
        found = ", ".join(f"{counts[name]} from {name}" for name in in_order(buckets))
        seeds = len(self.wanted.seeds)
        return (
            f"{len(buckets)} {self.check.noun}, {self.check.sought}; by their share of the picture's height: {found}",
            *(f"{self.check.noun} were found by {n.name}, SHA-256 {n.sha256}" for n in self.check.networks[1:]),
            f"intervals are over {self.check.noun}, as if those of one picture were independent",
            *(f"unreadable: {line}" for line in self.survey.unreadable),
            *([f"values are means over {seeds} decode seeds; spread is their standard deviation"] if seeds > 1 else []),
        )


def with_items(stretch: ReferenceBatch, items: Sequence[Item]) -> tuple[ReferenceBatch, list[Item]]:
    """The pictures that have an item, and the items with their rows among these."""
    rows = sorted({item.row for item in items})
    chosen = ReferenceBatch(
        tuple(stretch.places[row] for row in rows),
        tuple(stretch.names[row] for row in rows),
        tuple(stretch.words[row] for row in rows),
        stretch.pixels_BHWC[rows],
        stretch.unreadable,
    )
    return chosen, [replace(item, row=rows.index(item.row)) for item in items]


def by_height(
    name: str, values_SI: Tensor, buckets: Sequence[str], network: Network,
    length: int | None = None, size: float | None = None,
) -> list[Figure]:  # fmt: skip
    """The mean over all items, then over those of each bucket that has some; items of no value (NaN) are left out."""
    having_I = ~values_SI.isnan().any(0)
    figures = []
    for bucket in ("", *in_order(buckets)):
        chosen_I = having_I & torch.tensor([bucket in ("", own) for own in buckets])
        chosen_SI = values_SI[:, chosen_I]
        if not chosen_I.any():
            continue
        low, high = mean_interval(chosen_SI.mean(0))
        value, spread = mean_and_spread(chosen_SI.mean(1))
        metric, count = name + f"@{bucket}" * bool(bucket), chosen_SI.shape[1]
        figures.append(Figure(metric, value, count, low, high, spread, length, size, network))
    return figures
