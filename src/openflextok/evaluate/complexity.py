"""How many tokens each image of a set needs to come within a target, and whether complex images need more.

    crops -> encode -> ids -> bisection (or every length): decode(length, seed) -> 8 bits -> metric against the crop
    lengths of all images -> share that is near enough at 1, 2, 4, ... tokens; quartiles; rank correlation with complexity

Shapes: B images of a stretch, R images, N tokens, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from openflextok.config import nearest
from openflextok.evaluate.adaptive import (
    gradient_energy,
    rises,
    shortest_lengths,
    shortest_of_curve,
    spearman,
    spearman_interval,
    webp_bytes,
)
from openflextok.evaluate.bootstrap import mean_interval
from openflextok.evaluate.job import Job, Plan
from openflextok.evaluate.measuring import Instruments, check_size, decode_all, sizes
from openflextok.evaluate.metric_names import metric_name
from openflextok.evaluate.metric_table import PAIRS, choose
from openflextok.evaluate.parts import Part, Parts
from openflextok.evaluate.reconstruct import Wanted
from openflextok.evaluate.reference import Reference, ReferenceBatch, Survey
from openflextok.evaluate.results import Figure, Result, Setting, Subject
from openflextok.lengths import power_lengths
from openflextok.pixels import to_float
from openflextok.tokenizer import Tokenizer, weights_digest

COMPLEXITIES = {"webp": webp_bytes, "gradient": gradient_energy}
QUARTILES = {"tokens_needed_q25": 0.25, "tokens_needed_q50": 0.5, "tokens_needed_q75": 0.75}
RANK_NOTE = (
    "rank_webp, rank_gradient: Spearman's correlation of the tokens needed with the bytes of the crop as lossless WebP, "
    "and with the mean squared difference of its neighbouring pixels"
)


@dataclass(frozen=True)
class Target:
    """What is near enough: a metric of pairs with one figure, and the value to reach."""

    metric: str
    value: float
    every_length: bool = False
    """Decode every length, instead of a bisection that takes for granted that more tokens come nearer."""

    def __post_init__(self) -> None:
        able = [name for name, each in PAIRS.items() if len(each.figures) == 1 and metric_name(name).better]
        if self.metric not in able:
            raise ValueError(f"no target can be set for {self.metric!r}{nearest(self.metric, able)}")
        if not math.isfinite(self.value):
            raise ValueError(f"target {self.value} is not a finite number")

    @property
    def sign(self) -> float:
        """Times a value of the metric: a distance, smaller is nearer."""
        return -1.0 if metric_name(self.metric).better == "higher" else 1.0

    @property
    def settings(self) -> tuple[Setting, ...]:
        """As the card names it."""
        relation = ">=" if self.sign < 0 else "<="
        how = "every length" if self.every_length else "bisection"
        return Setting("target", f"{self.metric} {relation} {self.value:g}"), Setting("search", how)


class Complexity(Job):
    """The measurement of the tokens that images need of one tokenizer."""

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        reference: Reference,
        survey: Survey,
        target: Target,
        seed: int = 0,
        options: Sequence[tuple[str, Any]] = (),
        batch: int = 16,
    ) -> None:
        """name: of the tokenizer; seed: of the decoder's noise, as for `Reconstruction`; options: of the decoder.

        Raises ValueError for sizes that differ, and images too small for the metric.
        """
        self.wanted = Wanted(power_lengths(tokenizer.num_tokens), (seed,), tuple(options), batch)
        self.wanted.check(tokenizer.num_tokens)
        check_size(reference, tokenizer)
        chosen = choose([target.metric])
        self.tools = Instruments.load(chosen, (), reference.image_size, survey.images, tokenizer.device)
        if not self.tools.pairs:
            raise ValueError("; ".join(self.tools.notes))
        self.tokenizer, self.reference, self.survey, self.target = tokenizer, reference, survey, target
        weights = weights_digest(tokenizer)
        settings = *self.wanted.settings(tokenizer, weights), *target.settings
        self.plan = Plan(
            reference.protocol("reconstruct", survey),
            Subject(name, "tokenizer", tokenizer.fingerprint(), settings),
            (weights,),
            self.wanted.lengths,
            self.wanted.seeds,
            chosen.pairs,
            self.tools.networks,
            batch,
        )  # fmt: skip

    # -- one stretch --------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def part(self, stretch: ReferenceBatch) -> Part:
        part = Part()
        if not stretch.places:
            return part
        original_BCHW = to_float(stretch.pixels_BHWC)
        found = {name: measure(original_BCHW) for name, measure in COMPLEXITIES.items()}
        found |= self.needed(original_BCHW.to(self.tokenizer.device), stretch.places)
        part.values = {name: values_B.double()[None, None] for name, values_B in found.items()}
        return part

    def needed(self, original_BCHW: Tensor, places: Sequence[int]) -> dict[str, Tensor]:
        """(B,) tokens needed, N + 1 for "never"; of every length, also the share of steps that are a rise."""
        ids_BN, target = self.tokenizer.encode(original_BCHW).ids, self.target.sign * self.target.value
        batch, most = ids_BN.shape

        def at(length_B: Tensor) -> Tensor:
            distance_B = torch.full((batch,), torch.nan)
            for length in length_B[length_B > 0].unique().tolist():
                rows = torch.nonzero(length_B == length)[:, 0]
                distance_B[rows] = self.distances(
                    original_BCHW[rows], ids_BN[rows, :length], [places[i] for i in rows.tolist()]
                )
            return distance_B

        if not self.target.every_length:
            return {"tokens_needed": shortest_lengths(at, target, batch, most)}
        curve_BN = torch.stack([at(torch.full((batch,), length)) for length in range(1, most + 1)], dim=1)
        return {"tokens_needed": shortest_of_curve(curve_BN, target), "rises": rises(curve_BN)}

    def distances(self, original_BCHW: Tensor, ids_BN: Tensor, places: Sequence[int]) -> Tensor:
        """(B,) of images to what their ids decode to, smaller is nearer."""
        wanted, measure = self.wanted, self.tools.pairs[self.target.metric]
        made, _ = decode_all(
            self.tokenizer, ids_BN, (ids_BN.shape[1],), wanted.seeds, places, dict(wanted.options)
        )  # fmt: skip
        return self.target.sign * measure.compute(original_BCHW, made[0, 0])[:, 0].cpu().float()

    # -- all of them --------------------------------------------------------------------------------------------

    def result(self, parts: Parts) -> tuple[Result, Image.Image | None]:
        needed_R = parts.values("tokens_needed")[0, 0]
        images, lengths = len(needed_R), self.wanted.lengths
        figures: list[Figure] = []
        for length, size in zip(lengths, sizes(self.tokenizer, lengths), strict=True):
            near_R = (needed_R <= length).double()
            low, high = mean_interval(near_R)
            figures.append(Figure("near_enough", near_R.mean().item(), images, low, high, length=length, bytes=size))
        for name, share in QUARTILES.items():
            figures.append(Figure(name, needed_R.quantile(share, interpolation="higher").item(), images))
        equal = needed_R.min() == needed_R.max()
        for name in COMPLEXITIES if not equal else ():
            complexity_R = parts.values(name)[0, 0]
            (low, high), value = spearman_interval(complexity_R, needed_R), spearman(complexity_R, needed_R).item()
            figures += [Figure(f"rank_{name}", value, images, low, high)] if math.isfinite(value + low + high) else []
        if parts.has("values", "rises"):
            rises_R = parts.values("rises")[0, 0]
            figures.append(Figure("rises", rises_R.mean().item(), images, *mean_interval(rises_R)))
        return Result(self.plan.protocol, self.plan.subject, tuple(figures), self.notes(bool(equal))), None

    def notes(self, equal: bool) -> tuple[str, ...]:
        """What a reader must know of the figures."""
        most = self.tokenizer.num_tokens
        found = [*(f"unreadable: {line}" for line in self.survey.unreadable)]
        found.append(f"tokens_needed: {most + 1} stands for images that {most} tokens do not bring there")
        found.append("all images need equally many tokens: no rank correlation" if equal else RANK_NOTE)
        if not self.target.every_length:
            found.append("bisection takes for granted that more tokens come nearer: --every-length says how often not")
        return tuple(found)
