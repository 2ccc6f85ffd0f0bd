"""From a recipe to its objective."""

from __future__ import annotations

import torch

from openflextok.train.autoencoder import AutoencoderObjective
from openflextok.train.objectives import Objective, TokenizerObjective
from openflextok.train.settings import AutoencoderRecipe, Recipe, TokenizerRecipe

OBJECTIVES: dict[type, type[Objective]] = {
    TokenizerRecipe: TokenizerObjective,
    AutoencoderRecipe: AutoencoderObjective,
}


def build_objective(recipe: Recipe, device: torch.device | str = "cpu") -> Objective:
    """The objective of a recipe, with fresh weights, on a device."""
    return OBJECTIVES[type(recipe)](recipe, device)  # pyright: ignore[reportCallIssue]
