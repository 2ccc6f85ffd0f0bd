"""An own part without editing the library: a length policy that favours short prefixes, trained for a few steps.

    python examples/custom_part.py runs/geometric --steps 600

The parts of a tokenizer are the abstract classes of `openflextok/interfaces.py`: write a subclass, put in the object.
"""

from dataclasses import replace
from pathlib import Path

import cyclopts
import torch
from torch import Tensor

import openflextok as oft
from openflextok.data.sources import open_source
from openflextok.interfaces import LengthPolicy
from openflextok.recipes import recipe
from openflextok.train.feeds import ImageFeed
from openflextok.train.loop import Trainer
from openflextok.train.objectives import TokenizerObjective
from openflextok.train.parallel import world
from openflextok.train.settings import TokenizerRecipe
from openflextok.types import Draws, Slots

PHOTOS = Path(oft.__file__).parent / "photos"


class Geometric(LengthPolicy):
    """Each further token is kept with the same chance: P(length > n) = chance ** n, and all that are left at N."""

    def __init__(self, chance: float) -> None:
        self.chance = chance

    def __call__(self, slots: Slots, draws: Draws) -> Tensor:
        position_N = torch.arange(slots.values_BND.shape[1], device=draws.device)
        return draws.uniform()[:, None] < self.chance**position_N  # (B, N): the first is always kept


def main(out: Path, *, photos: str = str(PHOTOS), steps: int = 2, chance: float = 0.8) -> None:
    """Train `toy` with geometric lengths; OUT/model is a checkpoint like any other."""
    toy = recipe("toy")
    assert isinstance(toy, TokenizerRecipe)
    chosen = replace(toy, name="toy-geometric", train=replace(toy.train, steps=steps, batch_size=8))

    torch.manual_seed(chosen.train.seed)
    with world() as processes:
        feed = ImageFeed(chosen.data, open_source(photos))
        objective = TokenizerObjective(chosen, feed, processes.device)
        objective.tokenizer.lengths = Geometric(chance)
        objective.facts = {**objective.facts, "lengths": f"geometric {chance}"}  # a resumed run must have the same
        Trainer(chosen, objective, feed, out, processes).run()

    tokenizer = oft.load(out / "model")  # lengths matter in training only: nothing of this file is needed to load it
    print(f"trained: {tokenizer.num_tokens} tokens, fingerprint {tokenizer.fingerprint()}")


if __name__ == "__main__":
    cyclopts.run(main)
