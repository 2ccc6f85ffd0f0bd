"""Training a small KL autoencoder: L1 + perceptual + KL, and optionally a critic.

Shape suffixes: B batch, C channels, H x W pixels.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from openflextok import catalog, checkpoint
from openflextok.config import ConfigError
from openflextok.convert.diffusers_vae import CONFIG, WEIGHTS, load_autoencoder, save_autoencoder
from openflextok.evaluate.pictures import picture_grid
from openflextok.pixels import to_pil
from openflextok.spaces.autoencoder_kl import AutoencoderKL, Posterior
from openflextok.storage import read_json
from openflextok.train.feeds import ImageFeed
from openflextok.train.image_losses import CriticStep, ImageLosses
from openflextok.train.objectives import Figures, Objective, Phase, space_facts
from openflextok.train.parallel import whole_state
from openflextok.train.settings import AutoencoderRecipe
from openflextok.types import Draws

SAMPLE = 256  # training crops that the scaling factor is measured on
CHUNK = 16  # crops encoded at a time


class AutoencoderStep(nn.Module):
    """|x - y| + perceptual + KL, and after `adversarial_start` the critic's opinion, for one posterior sample.

    `latent_noise` is added to it, as much as the sample's own draw says.
    """

    def __init__(self, recipe: AutoencoderRecipe, space: AutoencoderKL) -> None:
        super().__init__()
        self.recipe, self.space, self.image_losses = recipe, space, ImageLosses(recipe)

    def forward(self, images_BCHW: Tensor, draws: Draws, step: int) -> Figures:
        posterior = self.space.posterior(images_BCHW)
        rebuilt_BCHW = self.rebuild(posterior, draws)
        terms = {"l1": F.l1_loss(rebuilt_BCHW, images_BCHW), "kl": self.recipe.kl_weight * posterior.kl()}
        terms |= self.image_losses(rebuilt_BCHW, images_BCHW, step)
        psnr = -10 * torch.log10(F.mse_loss(rebuilt_BCHW.detach(), images_BCHW) / 4)
        return terms, {"psnr": psnr, "latent_std": posterior.mean_BCHW.detach().float().std()}

    def rebuild(self, posterior: Posterior, draws: Draws) -> Tensor:
        """Images from one sample of the posterior, with `latent_noise` on it."""
        mean_BCHW, std_BCHW = posterior.mean_BCHW.float(), posterior.std_BCHW.float()
        noise_BCHW = draws.normal(*mean_BCHW.shape[1:])
        if self.recipe.latent_noise:
            added_B = draws.uniform() * self.recipe.latent_noise / self.space.config.scaling_factor
            std_BCHW = torch.hypot(std_BCHW, added_B[:, None, None, None])
        return self.space.reconstruct(mean_BCHW + std_BCHW * noise_BCHW).float()


def latent_std(space: AutoencoderKL, images_BCHW: Tensor) -> float:
    """Standard deviation over all posterior means of the images, encoded a few at a time."""
    device = next(space.parameters()).device
    means = [space.posterior(chunk.to(device)).mean_BCHW.float() for chunk in images_BCHW.split(CHUNK)]
    return torch.cat(means).std().item()


def open_autoencoder(source: str) -> AutoencoderKL:
    """The autoencoder in a folder of diffusers' layout, or the one in which a tokenizer works."""
    folder = catalog.find(source, weights=WEIGHTS)
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    space = load_autoencoder(folder) if "_class_name" in config else checkpoint.load(source).space
    if not isinstance(space, AutoencoderKL):
        raise ConfigError(f"start_from: the latent space of {source} is no autoencoder")
    return space


class AutoencoderObjective(Objective):
    """One phase, or two with a critic; exports a folder in diffusers' layout with a measured scaling factor."""

    def __init__(self, recipe: AutoencoderRecipe, feed: ImageFeed, device: torch.device | str = "cpu") -> None:
        self.recipe, self.feed = recipe, feed
        self.shown_BCHW = feed.shown(recipe.train.preview_images).to(device)
        space = open_autoencoder(recipe.start_from) if recipe.start_from else AutoencoderKL(recipe.autoencoder)
        if any(side % space.downsample for side in recipe.data.image_size):
            raise ConfigError(f"data.image_size {recipe.data.image_size}: both must be multiples of {space.downsample}")
        self.space = space.to(device, memory_format=torch.channels_last).train().requires_grad_(True)  # pyright: ignore
        self.facts = {"pictures": str(len(feed.source))}
        if recipe.start_from:
            self.facts |= space_facts(self.space, self.space.config)
        if recipe.frozen:
            self.space.encoder.requires_grad_(False)
            self.space.quant_conv.requires_grad_(False)
        step = AutoencoderStep(recipe, self.space).to(device)
        self.phases = [Phase("autoencoder", step)]
        if step.image_losses.critic is not None:
            critic = step.image_losses.critic.module.to(device)
            judge = CriticStep(critic, lambda images, draws: step.rebuild(self.space.posterior(images), draws))
            self.phases.append(Phase("critic", judge, judge.end_step))

    @torch.inference_mode()
    def export(self, folder: Path | None, training: str) -> None:
        weights = whole_state(self.space)
        if folder is None:
            return
        config = self.space.config
        if not self.recipe.frozen:
            std = latent_std(self.space, self.feed.first_crops(SAMPLE, self.recipe.train.seed))
            config = dataclasses.replace(config, scaling_factor=round(1 / max(std, 1e-6), 4))
        save_autoencoder(weights, config, folder, f"# {self.recipe.name}\n\n{training}\n")

    @torch.inference_mode()
    def preview(self) -> Image.Image:
        rebuilt_BCHW = self.space.decode(self.space.encode(self.shown_BCHW)).float()
        return picture_grid([("original", to_pil(self.shown_BCHW)), ("rebuilt", to_pil(rebuilt_BCHW))])
