"""The `toy` recipe trained on a folder of photos from Python, with settings changed in code.

    python examples/train_on_folder.py runs/toy --photos photos/ --steps 600

Started again with the same arguments, it goes on where the last checkpoint is.
"""

from dataclasses import replace
from pathlib import Path

import cyclopts
import torch

import openflextok as oft
from openflextok.data.sources import open_source
from openflextok.recipes import recipe
from openflextok.train.build import build_objective, open_feed
from openflextok.train.loop import Trainer
from openflextok.train.parallel import world

PHOTOS = Path(oft.__file__).parent / "photos"


def main(out: Path, *, photos: str = str(PHOTOS), steps: int = 20, batch_size: int = 8) -> None:
    """Train for so many steps; OUT gets checkpoints, previews, logs, and the tokenizer itself in OUT/model."""
    toy = recipe("toy")  # data all the way down: every field has a name, a type and a default
    optim = replace(toy.train.optim, warmup_steps=min(50, steps // 4))
    train = replace(toy.train, steps=steps, batch_size=batch_size, optim=optim)
    chosen = replace(toy, train=train, data=replace(toy.data, source=photos))

    torch.manual_seed(chosen.train.seed)
    feed = open_feed(chosen)
    with world() as processes:  # this one, or all that torchrun started
        Trainer(chosen, build_objective(chosen, feed, processes.device), feed, out, processes, report).run()

    photo = open_source(photos).read(0)
    ids = oft.load(out / "model").encode([photo.image]).ids
    print(f"ids of {photo.key}:", ids[0].tolist())


def report(step: int, figures: dict[str, float]) -> None:
    if step % 10 == 0:
        print(f"step {step}: loss {figures['loss']:.3f}, {figures['images_per_second']:.0f} images/s")


if __name__ == "__main__":
    cyclopts.run(main)
