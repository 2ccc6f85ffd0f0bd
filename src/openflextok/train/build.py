"""From a recipe to its feed and its objective."""

from __future__ import annotations

from typing import Any

import torch

from openflextok.train.autoencoder import AutoencoderObjective
from openflextok.train.feeds import Feed, ImageFeed
from openflextok.train.generation import GeneratorObjective, TokenFeed
from openflextok.train.objectives import Objective, TokenizerObjective
from openflextok.train.settings import (
    AutoencoderRecipe,
    DataConfig,
    GeneratorRecipe,
    Recipe,
    TokenDataConfig,
    TokenizerRecipe,
)

FEEDS: dict[type, type[Any]] = {DataConfig: ImageFeed, TokenDataConfig: TokenFeed}
OBJECTIVES: dict[type, type[Any]] = {
    TokenizerRecipe: TokenizerObjective,
    AutoencoderRecipe: AutoencoderObjective,
    GeneratorRecipe: GeneratorObjective,
}


def open_feed(recipe: Recipe) -> Feed:
    """The examples that a recipe's data settings describe."""
    return FEEDS[type(recipe.data)].open(recipe.data)


def build_objective(recipe: Recipe, feed: Feed, device: torch.device | str = "cpu") -> Objective:
    """The objective of a recipe, with fresh weights, on a device."""
    return OBJECTIVES[type(recipe)](recipe, feed, device)
