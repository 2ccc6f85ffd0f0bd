"""Objectives: what a trainer sees. An objective has phases (one for a flow, two with a critic) and can be exported.

Shape suffixes: B batch, C channels, H x W pixels.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from openflextok import catalog, checkpoint
from openflextok.config import AutoencoderKLConfig, PixelsConfig, to_dict
from openflextok.convert.diffusers_vae import load_autoencoder
from openflextok.evaluate.metrics import code_usage
from openflextok.interfaces import LatentSpace
from openflextok.storage import fill
from openflextok.tokenizer import Tokenizer, weights_digest
from openflextok.train.feeds import ImageFeed
from openflextok.train.image_losses import CriticStep, ImageLosses
from openflextok.train.parallel import whole_state
from openflextok.train.preview import prefix_grid
from openflextok.train.repa import Repa
from openflextok.train.settings import TokenizerRecipe
from openflextok.types import Draws, Losses

Figures = tuple[dict[str, Tensor], dict[str, Tensor]]  # terms and metrics


@dataclass(frozen=True)
class Phase:
    """One forward, backward and optimizer step.

    `module(*inputs, draws, step)`, with the inputs of the feed's batches, gives the terms and metrics of `Losses`, as plain containers, into which DDP and FSDP
    can look.
    """

    name: str
    module: nn.Module
    end_step: Callable[[bool], None] = lambda applied: None
    """Called after the optimizer's step, or with False where it was skipped."""


class Objective(ABC):
    """What is trained, how it is shown, and how it is saved for use."""

    phases: Sequence[Phase]
    facts: Mapping[str, str] = {}
    """What results depend on beyond the recipe; a run goes on only where they are the same."""

    @abstractmethod
    def export(self, folder: Path | None, training: str) -> None:
        """Called by every process; the one with a folder writes the weights as they are now, for use."""

    @abstractmethod
    def preview(self) -> Image.Image:
        """A picture that shows progress."""


class TokenizerStep(nn.Module):
    """The tokenizer's losses, plus the terms on alignment and on images where there are some."""

    def __init__(self, tokenizer: Tokenizer, repa: Repa | None, image_losses: ImageLosses | None) -> None:
        super().__init__()
        self.tokenizer, self.repa, self.image_losses = tokenizer, repa, image_losses

    def forward(self, images_BCHW: Tensor, draws: Draws, step: int) -> Figures:
        losses, tokens = self.tokenizer.losses(images_BCHW, draws)
        if self.repa is not None:
            assert losses.features_BPD is not None, "the decoder gives no features to align"
            losses = losses + self.repa(losses.features_BPD, images_BCHW)
        terms, metrics = dict(losses.terms), dict(losses.metrics)
        if self.image_losses is not None:
            terms |= self.image_losses(rebuilt_images(self.tokenizer, losses), images_BCHW, step)
        if tokens.ids_BN is not None:
            size = self.tokenizer.quantizer.codebook_size
            usage = code_usage(tokens.ids_BN, size)
            metrics |= {
                "codes_used": torch.tensor(usage.share * size),
                "code_perplexity": torch.tensor(usage.perplexity),
            }
        return terms, metrics


def rebuilt_images(tokenizer: Tokenizer, losses: Losses) -> Tensor:
    """The images that a decoder rebuilt beside its losses."""
    assert losses.rebuilt_BCHW is not None, "the decoder does not rebuild images in one pass"
    return tokenizer.space.decode(losses.rebuilt_BCHW.float()).float()


def space_facts(space: LatentSpace, config: PixelsConfig | AutoencoderKLConfig) -> dict[str, str]:
    """What training in a latent space depends on: its shape and scaling, and its weights."""
    return {"space": weights_digest(space), "space_config": json.dumps(to_dict(config))}


def build_tokenizer(recipe: TokenizerRecipe) -> Tokenizer:
    """The recipe's tokenizer with fresh weights, or those of the checkpoint that it starts from.

    The latent space is that of the checkpoint; else an autoencoder's own folder decides its shape and scaling.
    """
    if recipe.start_from:
        stored = checkpoint.open_checkpoint(catalog.find(recipe.start_from))
        tokenizer = Tokenizer(replace(recipe.tokenizer, space=stored.config.space))
        fill(tokenizer, stored.weights, torch.float32)
        return tokenizer
    if not recipe.space_weights:
        return Tokenizer(recipe.tokenizer)
    space = load_autoencoder(recipe.space_weights)
    tokenizer = Tokenizer(replace(recipe.tokenizer, space=space.config))
    tokenizer.space.load_state_dict(space.state_dict())
    return tokenizer


class TokenizerObjective(Objective):
    """One phase: every part of the tokenizer learns from the decoder's loss; with a critic, a second one for it."""

    def __init__(self, recipe: TokenizerRecipe, feed: ImageFeed, device: torch.device | str = "cpu") -> None:
        self.recipe = recipe
        self.shown_BCHW = feed.shown(recipe.train.preview_images).to(device)
        self.tokenizer = build_tokenizer(recipe).to(device)
        repa = None if recipe.repa is None else Repa(recipe.repa, recipe.tokenizer.decoder.width).to(device)
        self.facts = {"pictures": str(len(feed.source))} | space_facts(
            self.tokenizer.space, self.tokenizer.config.space
        )
        if recipe.start_from:
            self.facts |= {"start": weights_digest(self.tokenizer)}
        for name in recipe.frozen:
            getattr(self.tokenizer, name).requires_grad_(False)
        if "encoder" in recipe.frozen:  # ids stay as they are
            self.tokenizer.quantizer.requires_grad_(False)
        image_losses = None if recipe.image_losses is None else ImageLosses(recipe.image_losses).to(device)
        step = TokenizerStep(self.tokenizer, repa, image_losses)
        self.phases = [Phase("tokenizer", step, self._end_step)]
        if image_losses is not None and image_losses.critic is not None:
            judge = CriticStep(image_losses.critic.module.to(device), self._rebuild)
            self.phases.append(Phase("critic", judge, judge.end_step))
        for part in (self.tokenizer.encoder, self.tokenizer.decoder):
            part.checkpoint_blocks = recipe.train.gradient_checkpointing  # pyright: ignore

    def _end_step(self, applied: bool) -> None:
        self.tokenizer.quantizer.end_step(applied and "encoder" not in self.recipe.frozen)

    def _rebuild(self, images_BCHW: Tensor, draws: Draws) -> Tensor:
        losses, _ = self.tokenizer.losses(images_BCHW, draws)
        return rebuilt_images(self.tokenizer, losses)

    def export(self, folder: Path | None, training: str) -> None:
        weights = whole_state(self.tokenizer)
        if folder is None:
            return
        about = checkpoint.About(self.recipe.name, data=self.recipe.data.source, training=training)
        checkpoint.save(self.tokenizer, folder, about=about, weights=weights)

    def preview(self) -> Image.Image:
        return prefix_grid(self.tokenizer, self.shown_BCHW)
