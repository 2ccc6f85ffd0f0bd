"""`openflextok train`: run a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from openflextok.train.parallel import World
    from openflextok.train.settings import Recipe


def train(
    recipe: str,
    /,
    *,
    data: str,
    out: Path,
    heldout: str = "",
    max_minutes: float = float("inf"),
    settings: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
) -> None:
    """Train a recipe; started again with the same command, it goes on where the last checkpoint is.

    Under `torchrun`, every process takes its share of each batch.

    Parameters
    ----------
    recipe
        A recipe's name. FlexTok: toy, flextok-32px, flextok-mini, flextok-one-gpu, flextok-d12-d12, flextok-d18-d18,
        flextok-d18-d28. Its variants and relatives at 32 px: flextok-uniform, flextok-fixed, flextok-bidirectional,
        flextok-repa, flextok-no-repa, flextok-vq, flextok-lfq16, titok, one-d-piece, grid2d, semanticist. Autoencoders:
        kl-f8-mini, kl-f8. Generators: gpt-mini-labels, gpt-mini-captions, gpt-d10, gpt-d18, gpt-d30, gpt-text-d12,
        gpt-text-d36.
    data
        Training images: a folder, tar shards, a Hugging Face dataset or a built-in set (docs/data.md); for a
        generator, tokens that `openflextok tokenize` wrote.
    out
        Folder of the run: checkpoints, `model` (for use), previews, logs.
    heldout
        Images (or tokens) for the previews; the training ones if not given.
    max_minutes
        Save and stop after this many minutes.
    settings
        A change to the recipe, as train.steps=100; may be repeated.
    """
    import dataclasses
    import logging

    from rich.logging import RichHandler

    from openflextok.cli.outputs import check_folder
    from openflextok.overrides import with_settings
    from openflextok.recipes import recipe as find_recipe
    from openflextok.train.parallel import world as processes

    check_folder(out)
    if out.resolve() == Path(data.partition("#")[0]).resolve():
        raise ValueError(f"{out} holds the data, and previews would be read as pictures: give another --out")
    for setting in settings or ():
        if setting.startswith(("data.source=", "data.heldout=")):
            raise ValueError(f"{setting!r} would not be heard: give --data and --heldout")
    chosen = with_settings(find_recipe(recipe), settings or ())
    chosen = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, source=data, heldout=heldout))
    with processes() as world:
        logging.basicConfig(
            level=logging.INFO if world.leads else logging.WARNING, handlers=[RichHandler()], format="%(message)s"
        )
        steps = _run(chosen, out, max_minutes, world)
        if world.leads:
            asked = chosen.train.steps
            done = f"{steps} of {asked} steps" if steps <= asked else f"{steps} steps, {asked} asked for: nothing to do"
            print(f"{done}; model in {out / 'model'}")


def _run(recipe: Recipe, out: Path, max_minutes: float, world: World) -> int:
    """Steps taken in all; nothing of the training is left behind in memory."""
    import torch

    from openflextok.cli.progress import TrainingBar
    from openflextok.train.build import build_objective, open_feed
    from openflextok.train.loop import Trainer

    torch.manual_seed(recipe.train.seed)
    feed = open_feed(recipe)
    objective = build_objective(recipe, feed, world.device)
    with TrainingBar(recipe.train.steps, visible=world.leads) as bar:
        return Trainer(recipe, objective, feed, out, world, bar.update).run(max_minutes).step
