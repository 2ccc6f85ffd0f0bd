"""Token sets as what a probe learns from and is asked about, and what a protocol says of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import openflextok
from openflextok.evaluate.probes import LabelledTokens
from openflextok.evaluate.reference import CROP, RESIZE_FILTER, split_of
from openflextok.evaluate.results import Protocol
from openflextok.token_sets.plan import Plan
from openflextok.token_sets.reader import TokenSet


def labelled_tokens(tokens: TokenSet) -> LabelledTokens:
    """The rows that have a label, each with its picture; ValueError where none has."""
    labels = [tokens.label(row) for row in range(len(tokens))]
    rows = [row for row, label in enumerate(labels) if label is not None]
    if not rows:
        raise ValueError("no row of these tokens has a label: tokenize a source with labels, as folders named by class")
    return LabelledTokens(
        tokens.ids(rows), [label for label in labels if label is not None], [tokens.key(row) for row in rows]
    )


def probe_protocol(known: TokenSet, learned: LabelledTokens, asked: TokenSet, examined: LabelledTokens) -> Protocol:
    """The card of a probe that learned from one set and was asked about another: equal for other tokenizers of the same pictures."""
    words = [[list(some.pictures), list(some.labels)] for some in (learned, examined)]
    split = "; ".join(dict.fromkeys(split_of(plan.data) for plan in asked.plans))
    return Protocol(
        task="probe",
        reference=_joined(plan.data for plan in asked.plans),
        split=f"{split}, by a probe of {_joined(plan.data for plan in known.plans)}",
        reference_sha256=hashlib.sha256(json.dumps(words).encode()).hexdigest(),
        reference_images=len(set(examined.pictures)),
        images=len(examined.labels),
        image_size=asked.plans[0].image_size,
        crop=f"{_joined(map(_crops, asked.plans))}; learned from {_joined(map(_crops, known.plans))}",
        resize_filter=RESIZE_FILTER,
        rounding="none: tokens, not images",
        code=openflextok.__version__,
    )


def _crops(plan: Plan) -> str:
    if plan.crop_scale is None:
        return CROP
    low, high = plan.crop_scale
    mirrored = ", half of them mirrored" if plan.flip else ""
    return f"{plan.crops} random crops of {low:g} to {high:g} of the largest side{mirrored}, seed {plan.seed}"


def _joined(texts: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(texts))
