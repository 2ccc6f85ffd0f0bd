"""Training a generator: batches of tokens with their conditions, and the objective.

Shape suffixes: B batch, N tokens, T rows of a prepared condition.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor, nn

from openflextok import checkpoint
from openflextok.conditioning.base import Conditioner
from openflextok.config import ConfigError
from openflextok.data.loader import order, positions
from openflextok.evaluate.pictures import picture_grid
from openflextok.generators.generator import Generator, with_classes
from openflextok.lengths import power_lengths
from openflextok.pixels import to_pil
from openflextok.token_sets.reader import TokenSet, open_token_set
from openflextok.tokenizer import weights_digest
from openflextok.train.feeds import Feed
from openflextok.train.objectives import Figures, Objective, Phase
from openflextok.train.parallel import whole_state
from openflextok.train.settings import GeneratorRecipe, TokenDataConfig
from openflextok.types import Draws

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenBatch:
    """The examples of one step on one process."""

    ids_BN: Tensor
    conditions_BT: Tensor
    keys: tuple[str, ...]
    corrupt: tuple[str, ...] = ()

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        return {"ids": self.ids_BN, "conditions": self.conditions_BT}

    def to(self, device: torch.device | str) -> Self:
        return replace(self, ids_BN=self.ids_BN.to(device), conditions_BT=self.conditions_BT.to(device))


class TokenFeed(Feed):
    """Rows of a token set, every row once an epoch."""

    def __init__(self, tokens: TokenSet, heldout: TokenSet | None = None) -> None:
        self.tokens, self.heldout = tokens, heldout
        self.conditioner: Conditioner | None = None  # set by the objective: it alone knows what a condition is

    @classmethod
    def open(cls, data: TokenDataConfig) -> Self:
        """The feed that the settings describe in words."""
        return cls(open_token_set(data.source), open_token_set(data.heldout) if data.heldout else None)

    def batches(
        self, batch_size: int, seed: int, start_step: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[TokenBatch]:
        step = start_step
        while True:
            rows = []
            for position in positions(step, batch_size, rank, world):
                epoch, place = divmod(position, len(self.tokens))
                rows.append(int(order(seed, epoch, len(self.tokens))[place]))
            yield self.take(rows)
            step += 1

    def take(self, rows: list[int]) -> TokenBatch:
        """Rows of the tokens as a batch."""
        assert self.conditioner is not None, "a token feed needs an objective"
        tokens = self.tokens
        conditions_BT = self.conditioner.prepare(
            [condition_of(self.conditioner, tokens, row) for row in rows], cut=True
        )
        return TokenBatch(tokens.ids(rows), conditions_BT, tuple(tokens.key(row) for row in rows))


def condition_of(conditioner: Conditioner, tokens: TokenSet, row: int) -> str | None:
    """The label or caption of a row, whichever a conditioner reads."""
    return conditioner.wanted(tokens.label(row), tokens.caption(row))


class GeneratorStep(nn.Module):
    """Cross-entropy of the next token; the condition of some samples is dropped."""

    def __init__(self, generator: Generator, drop: float) -> None:
        super().__init__()
        self.generator, self.drop = generator, drop

    def forward(self, ids_BN: Tensor, conditions_BT: Tensor, draws: Draws, step: int) -> Figures:
        null_1T = self.generator.conditioner.prepare([None]).to(conditions_BT.device)
        dropped_B1 = draws.uniform()[:, None] < self.drop
        losses = self.generator.losses(ids_BN, torch.where(dropped_B1, null_1T, conditions_BT))
        return dict(losses.terms), dict(losses.metrics)


class GeneratorObjective(Objective):
    """One phase: the GPT and its conditioner learn to predict the next token."""

    def __init__(self, recipe: GeneratorRecipe, feed: TokenFeed, device: torch.device | str = "cpu") -> None:
        self.recipe, self.feed = recipe, feed
        tokens, gpt = feed.tokens, recipe.generator.gpt
        if (tokens.codebook_size, tokens.num_tokens) != (gpt.codebook_size, gpt.num_tokens):
            raise ConfigError(
                f"the tokens of {recipe.data.source} have {tokens.codebook_size} ids and {tokens.num_tokens} per image, "
                f"the generator {gpt.codebook_size} and {gpt.num_tokens}: set generator.gpt.codebook_size and .num_tokens"
            )
        config = replace(recipe.generator, tokenizer=tokens.tokenizer, fingerprint=tokens.fingerprint)
        self.generator = Generator(with_classes(config, tokens.classes)).to(device)
        feed.conditioner = self.generator.conditioner
        if feed.conditioner.kind == "labels" and not self.generator.classes:
            logger.warning("%s has no labels: the generator learns no class", recipe.data.source)
        self.facts = {"tokenizer": tokens.fingerprint, "rows": str(len(tokens))}
        self.facts |= {name: weights_digest(network) for name, network in feed.conditioner.frozen().items()}
        self.shown = self._first_conditions(recipe.train.preview_images)
        self.phases = [Phase("generator", GeneratorStep(self.generator, recipe.condition_dropout))]

    def export(self, folder: Path | None, training: str) -> None:
        weights = whole_state(self.generator)
        if folder is not None:
            about = checkpoint.About(self.recipe.name, data=self.recipe.data.source, training=training)
            checkpoint.save(self.generator, folder, about=about, weights=weights)

    @torch.inference_mode()
    def preview(self) -> Image.Image:
        """Held-out examples, then samples of the same conditions from growing prefixes."""
        self.generator.eval()
        examples_BN, conditions = self.shown
        tokenizer = checkpoint.load(self.generator.config.tokenizer, device=self.generator.device)
        given: dict[str, Any] = {self.generator.conditioner.kind: conditions}
        ids_BN = self.generator.sample(**given)
        columns = [("example", to_pil(tokenizer.decode(examples_BN, **tokenizer.decoder.draft)))]
        for length in power_lengths(self.generator.num_tokens):
            columns.append(
                (f"{length} tokens", to_pil(tokenizer.decode(ids_BN[:, :length], **tokenizer.decoder.draft)))
            )
        return picture_grid(columns)

    def _first_conditions(self, count: int) -> tuple[Tensor, list[str | None]]:
        """Ids and conditions of examples spread over the held-out tokens, without those that cannot be sampled."""
        tokens = self.feed.heldout or self.feed.tokens
        conditioner, rows, conditions, refused = self.generator.conditioner, [], [], ""
        for row in range(0, len(tokens), max(1, len(tokens) // count)):
            condition = condition_of(conditioner, tokens, row)
            try:
                conditioner.prepare([condition])
                rows.append(row)
                conditions.append(condition)
            except ValueError as error:
                refused = str(error)
                logger.warning("not shown: %s", error)
        if not rows:
            raise ConfigError(f"no held-out example has a condition that training knows: {refused}")
        return tokens.ids(rows[:count]), conditions[:count]
