"""The generator: classes or captions to ordered tokens, one after the other, and how likely given tokens are.

Shape suffixes: B batch, N tokens, S steps of the model (N times the digits of an id), M prefix, D width, V rows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok.conditioning.base import Condition, Conditioner
from openflextok.conditioning.labels import LabelPrefix, LabelSum
from openflextok.conditioning.text import TextCross, TextPrefix
from openflextok.config import (
    GeneratorConfig,
    LabelPrefixConfig,
    LabelSumConfig,
    TextCrossConfig,
    TextPrefixConfig,
)
from openflextok.generators.gpt import GPT
from openflextok.generators.sampling import Filter, Scale, draw, scales
from openflextok.generators.vocabulary import Vocabulary
from openflextok.tokenizer import Tokenizer
from openflextok.types import Draws, Losses, Tokens, check_seeds, whole

CONDITIONERS: dict[type, type[Any]] = {
    LabelPrefixConfig: LabelPrefix,
    LabelSumConfig: LabelSum,
    TextPrefixConfig: TextPrefix,
    TextCrossConfig: TextCross,
}


class Generator(nn.Module):
    """Condition -> GPT -> rows of a vocabulary -> token ids (B, N), coarse to fine."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        gpt = config.gpt
        classes = getattr(config.conditioner, "classes", ())
        self.vocabulary = Vocabulary(gpt.digits or (gpt.codebook_size,), len(classes))
        self.conditioner: Conditioner = CONDITIONERS[type(config.conditioner)](
            config.conditioner, gpt.width, self.vocabulary.codes
        )
        self.gpt = GPT(gpt, self.vocabulary.rows, self.conditioner.cross)

    @property
    def num_tokens(self) -> int:
        return self.config.gpt.num_tokens

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty where captions are the condition."""
        return self.conditioner.classes

    @property
    def device(self) -> torch.device:
        return self.gpt.embedding.weight.device

    def check_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Refuse a tokenizer whose ids are not those that this generator learned."""
        if self.config.fingerprint != tokenizer.fingerprint():
            raise ValueError(
                f"this generator speaks the ids of tokenizer {self.config.tokenizer!r} (fingerprint "
                f"{self.config.fingerprint}), not of this one ({tokenizer.fingerprint()}): load the one it names"
            )

    # -- the model ----------------------------------------------------------------------------------------------

    def condition(self, prepared_BT: Tensor) -> Condition:
        """Prepared labels or captions -> what the GPT reads."""
        return self.conditioner(prepared_BT.to(self.device), self.gpt.embedding)

    def logits(self, rows_BS: Tensor, prepared_BT: Tensor) -> Tensor:
        """Logits (B, S, V) of each of the given rows, from the condition and the rows before it."""
        condition = self.condition(prepared_BT)
        x_BLD = torch.cat([condition.prefix_BMD, self.gpt.embedding(rows_BS[:, :-1])], dim=1)
        logits_BLV = self.gpt(x_BLD, self.gpt.contexts(condition), _mask(condition))
        return logits_BLV[:, condition.prefix_BMD.shape[1] - 1 :]

    def losses(self, ids_BN: Tensor, prepared_BT: Tensor) -> Losses:
        """Cross-entropy, nats per step of the model; metrics: bits per token, and per first token."""
        rows_BS = self.vocabulary.split(ids_BN)
        logits_BSV = self.logits(rows_BS, prepared_BT).float()
        nats_BS = F.cross_entropy(logits_BSV.flatten(0, 1), rows_BS.flatten(), reduction="none").view(rows_BS.shape)
        bits_S = nats_BS.detach().mean(0) / math.log(2)
        digits = len(self.vocabulary.digits)
        metrics = {"bits_per_token": bits_S.mean() * digits, "bits_first_token": bits_S[:digits].sum()}
        return Losses({"cross_entropy": nats_BS.mean()}, metrics)

    @torch.no_grad()  # not inference mode: models may learn from what comes out
    def score(
        self, ids: Tensor | Tokens, labels: Sequence[Any] | None = None, captions: Sequence[str | None] | None = None
    ) -> Tensor:
        """Log-probabilities (B, n) in nats of each id (B, n), 1 <= n <= N, given those before it and the condition.

        Tokens may be given for their ids, where all images have as many.

        Over the whole vocabulary, as in training: the sum is minus the training loss of the ids.
        """
        ids_BN = self._check_ids(ids)
        rows_BS = self.vocabulary.split(ids_BN)
        logits_BSV = self.logits(rows_BS, self._prepare(labels, captions, len(ids_BN))).float()
        nats_BS = logits_BSV.log_softmax(-1).gather(-1, rows_BS[..., None])[..., 0]
        return nats_BS.unflatten(1, (-1, len(self.vocabulary.digits))).sum(-1)

    # -- sampling -----------------------------------------------------------------------------------------------

    def sample(
        self,
        labels: Sequence[Any] | None = None,
        captions: Sequence[str | None] | None = None,
        *,
        count: int | None = None,
        length: int | None = None,
        **options: Any,
    ) -> Tensor:
        """Token ids (B, length), int64; options as for `stream`."""
        return deque(self.stream(labels, captions, count=count, length=length, **options), maxlen=1).pop()

    def stream(
        self,
        labels: Sequence[Any] | None = None,
        captions: Sequence[str | None] | None = None,
        *,
        count: int | None = None,
        length: int | None = None,
        guidance: Scale | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | Sequence[int] = 0,
        cache: bool = True,
    ) -> Iterator[Tensor]:
        """Token ids (B, 1), (B, 2), ... (B, length), as they are drawn; a sample depends on its condition and seed alone.

        labels: names or numbers of classes; captions: texts; None among them for no condition; count: how many, where
        neither is given. length: 1..N, all if not given. guidance: scale s of u + s (c - u), or one per token; the
        checkpoint's own if not given. temperature, top_k, top_p, min_p: see `Filter`. seed: one per sample, or one
        number, from which sample i gets seed + i. cache: keep keys and values, instead of computing them at each step.
        ValueError for what cannot be sampled is raised here, before the first token is asked for.
        """
        length = self.num_tokens if length is None else length
        if whole(length) is None or not 1 <= length <= self.num_tokens:
            raise ValueError(f"cannot make {length} tokens: this generator has {self.num_tokens} (1 <= length <= N)")
        prepared_BT = self._prepare(labels, captions, count)
        choose = Filter(temperature, top_k, top_p, min_p)
        wanted = scales(self.config.guidance if guidance is None else guidance, length)
        return self._draw(prepared_BT, choose, wanted, check_seeds(seed, len(prepared_BT), apart=1), cache)

    @torch.no_grad()
    def _draw(
        self, prepared_BT: Tensor, choose: Filter, wanted: list[float], seeds: list[int], cache: bool
    ) -> Iterator[Tensor]:
        draws, digits = Draws(seeds, self.device), len(self.vocabulary.digits)
        steps = len(wanted) * digits
        run = _Run(self, prepared_BT, guided=any(s != 1 for s in wanted), steps=steps, cache=cache)
        for step in range(steps):
            span = self.vocabulary.span(step)
            logits_BV = run.guided_logits(wanted[step // digits])[:, span]
            run.append(span.start + draw(choose.probabilities(logits_BV), draws.uniform()))
            if (step + 1) % digits == 0:
                yield self.vocabulary.join(run.rows_BS)

    # -- borders ------------------------------------------------------------------------------------------------

    def _prepare(
        self, labels: Sequence[Any] | None, captions: Sequence[str | None] | None, count: int | None
    ) -> Tensor:
        given, kind = {"labels": labels, "captions": captions}, self.conditioner.kind
        wanted = given.pop(kind)
        for other, words in given.items():
            if words is not None:
                raise ValueError(f"this generator takes {kind}, not {other}: give {kind}=[...]")
        if isinstance(wanted, str) or whole(wanted) is not None:
            raise ValueError(f"{kind} is {wanted!r}: give a list, as {kind}=[{wanted!r}]")
        wanted = [None] * (1 if count is None else count) if wanted is None else list(wanted)
        if not wanted or (count is not None and len(wanted) != count):
            raise ValueError(f"got {len(wanted)} {kind} for {count} images: give one or more, one for each")
        return self.conditioner.prepare(wanted).to(self.device)

    def _check_ids(self, ids: Tensor | Tokens) -> Tensor:
        if isinstance(ids, Tokens):
            if not bool(ids.keep_BN.all()):
                raise ValueError(f"images have {ids.lengths.tolist()} tokens: truncate all to one length to score them")
            ids = ids.ids
        if not isinstance(ids, Tensor):
            raise ValueError(f"ids are a {type(ids).__name__}: give tokens, or a tensor int64 (B, n)")
        if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool or not ids.numel():
            raise ValueError(f"ids are {ids.dtype} of shape {tuple(ids.shape)}: give int64 (B, n)")
        if ids.shape[1] > self.num_tokens:
            raise ValueError(f"got {ids.shape[1]} tokens: this generator has {self.num_tokens} (1 <= n <= N)")
        low, high, size = ids.min().item(), ids.max().item(), self.config.gpt.codebook_size
        if low < 0 or high >= size:
            raise ValueError(f"id {low if low < 0 else high} is not a token of this generator (0 <= id < {size})")
        return ids.to(self.device, torch.int64)


class _Run:
    """One batch on its way: rows so far, and, with guidance, both passes as one batch (conditional rows first)."""

    def __init__(self, generator: Generator, prepared_BT: Tensor, guided: bool, steps: int, cache: bool) -> None:
        self.gpt, self.guided = generator.gpt, guided
        if guided:
            null_1T = generator.conditioner.prepare([None]).to(prepared_BT.device)
            prepared_BT = torch.cat([prepared_BT, null_1T.expand_as(prepared_BT)])
        self.condition = generator.condition(prepared_BT)
        self.contexts = self.gpt.contexts(self.condition)
        batch, prefix = self.condition.prefix_BMD.shape[:2]
        self.cache = self.gpt.new_cache(batch, prefix + steps) if cache else None
        self.x_BLD = self.condition.prefix_BMD
        self.rows_BS = torch.empty(batch // 2 if guided else batch, 0, dtype=torch.int64, device=prepared_BT.device)

    def guided_logits(self, scale: float) -> Tensor:
        """(B, V) float32 of the next row."""
        logits_BV = self.gpt(self.x_BLD, self.contexts, _mask(self.condition), self.cache)[:, -1].float()
        if not self.guided:
            return logits_BV
        conditional_BV, unconditional_BV = logits_BV.chunk(2)
        if scale == 1:
            return conditional_BV
        return unconditional_BV + scale * (conditional_BV - unconditional_BV)

    def append(self, rows_B: Tensor) -> None:
        self.rows_BS = torch.cat([self.rows_BS, rows_B[:, None]], dim=1)
        both_B1 = rows_B.repeat(2 if self.guided else 1)[:, None]
        new_BLD = self.gpt.embedding(both_B1)
        self.x_BLD = new_BLD if self.cache is not None else torch.cat([self.x_BLD, new_BLD], dim=1)


def _mask(condition: Condition) -> Tensor | None:
    """(B, 1, 1, T), True where there is text."""
    return None if condition.context_mask_BT is None else condition.context_mask_BT[:, None, None]


def with_classes(config: GeneratorConfig, classes: tuple[str, ...]) -> GeneratorConfig:
    """The config with the classes of a data set, where it names none itself."""
    conditioner = config.conditioner
    if not isinstance(conditioner, (LabelPrefixConfig, LabelSumConfig)) or conditioner.classes:
        return config
    return replace(config, conditioner=replace(conditioner, classes=classes))
