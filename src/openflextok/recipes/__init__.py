"""Recipes: one function each; the docstring gives the paper, the command, the cost and the expected result."""

from __future__ import annotations

from collections.abc import Callable

from openflextok.config import nearest
from openflextok.recipes.autoencoders import kl_f8, kl_f8_mini
from openflextok.recipes.flextok import d12_d12, d18_d18, d18_d28, one_gpu
from openflextok.recipes.generators import (
    gpt_d10,
    gpt_d18,
    gpt_d30,
    gpt_mini_captions,
    gpt_mini_labels,
    gpt_text_d12,
    gpt_text_d36,
)
from openflextok.recipes.mini import flextok_mini
from openflextok.recipes.relatives import (
    flextok_32px,
    flextok_bidirectional,
    flextok_fixed,
    flextok_lfq16,
    flextok_no_repa,
    flextok_repa,
    flextok_uniform,
    flextok_vq,
    grid2d,
    one_d_piece,
    semanticist,
    titok,
)
from openflextok.recipes.toy import toy
from openflextok.train.settings import Recipe

RECIPES: dict[str, Callable[[], Recipe]] = {
    "toy": toy,
    "flextok-mini": flextok_mini,
    "flextok-one-gpu": one_gpu,
    "flextok-d12-d12": d12_d12,
    "flextok-d18-d18": d18_d18,
    "flextok-d18-d28": d18_d28,
    "flextok-32px": flextok_32px,
    "titok": titok,
    "one-d-piece": one_d_piece,
    "grid2d": grid2d,
    "semanticist": semanticist,
    "flextok-vq": flextok_vq,
    "flextok-lfq16": flextok_lfq16,
    "flextok-uniform": flextok_uniform,
    "flextok-fixed": flextok_fixed,
    "flextok-bidirectional": flextok_bidirectional,
    "flextok-repa": flextok_repa,
    "flextok-no-repa": flextok_no_repa,
    "kl-f8-mini": kl_f8_mini,
    "kl-f8": kl_f8,
    "gpt-mini-labels": gpt_mini_labels,
    "gpt-mini-captions": gpt_mini_captions,
    "gpt-d10": gpt_d10,
    "gpt-d18": gpt_d18,
    "gpt-d30": gpt_d30,
    "gpt-text-d12": gpt_text_d12,
    "gpt-text-d36": gpt_text_d36,
}


def recipe(name: str) -> Recipe:
    """A recipe by name; ValueError names the nearest for an unknown one."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}{nearest(name, RECIPES)}")
    return RECIPES[name]()
