"""Generators have the sizes of the paper, and take two steps."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import openflextok as oft
from openflextok.config import TextCrossConfig
from openflextok.generators.generator import Generator
from openflextok.nets.causal import CausalBlock
from openflextok.recipes import recipe
from openflextok.recipes.generators import gpt
from openflextok.storage import CheckpointError
from openflextok.train.build import build_objective
from openflextok.train.generation import TokenFeed
from openflextok.train.loop import Trainer
from openflextok.train.parallel import World
from openflextok.train.settings import GeneratorRecipe

CPU = World(0, 1, torch.device("cpu"))


class RandomTokens:
    """What a token set offers, over numbers from a seed; twelve rows of two classes."""

    tokenizer, fingerprint, codebook_size = "flextok-mini", "", 64_000
    classes = ("even", "odd")

    def __init__(self, num_tokens: int) -> None:
        self.num_tokens = num_tokens
        self._ids = torch.randint(64_000, (12, num_tokens), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return 12

    def ids(self, rows) -> torch.Tensor:
        return self._ids[list(rows)]

    def label(self, row: int) -> str:
        return self.classes[row % 2]

    def caption(self, row: int) -> str:
        return ("a red bus", "green apple photo of a red apple")[row % 2]

    def key(self, row: int) -> str:
        return str(row)


def blocks(config) -> int:
    with torch.device("meta"):
        made = Generator(config)
    return sum(p.numel() for block in made.modules() if isinstance(block, CausalBlock) for p in block.parameters())


@pytest.mark.parametrize(("depth", "millions"), [(10, 49), (18, 287), (30, 1327)])
def test_the_papers_sizes_with_classes(depth: int, millions: int) -> None:
    assert round(blocks(gpt(depth)) / 1e6) == pytest.approx(millions, abs=1)


@pytest.mark.parametrize(("depth", "millions"), [(12, 113), (18, 382), (26, 1152), (36, 3058)])
def test_the_papers_sizes_with_captions(depth: int, millions: int) -> None:
    assert round(blocks(gpt(depth, TextCrossConfig())) / 1e6) == pytest.approx(millions, abs=1)


def small(name: str, encoder: Path) -> GeneratorRecipe:
    made = recipe(name)
    assert isinstance(made, GeneratorRecipe)
    train = dataclasses.replace(
        made.train,
        steps=2,
        batch_size=2,
        micro_batch_size=1,
        save_every=2,
        preview_every=9,
        preview_images=2,
        parallel="ddp",
    )
    generator = made.generator
    if hasattr(generator.conditioner, "encoder"):
        text = dataclasses.replace(generator.conditioner, encoder=str(encoder), encoder_width=16, length=8)  # pyright: ignore
        generator = dataclasses.replace(generator, conditioner=text)
    return dataclasses.replace(made, train=train, generator=generator)


@pytest.mark.parametrize("name", ["gpt-mini-labels", "gpt-mini-captions", "gpt-text-d12"])
def test_two_steps(name: str, tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small(name, encoder_folder)
    gpt_config = dataclasses.replace(made.generator.gpt, num_tokens=16, depth=min(2, made.generator.gpt.depth))
    made = dataclasses.replace(made, generator=dataclasses.replace(made.generator, gpt=gpt_config))
    feed = TokenFeed(RandomTokens(16))  # pyright: ignore
    objective = build_objective(made, feed)
    monkeypatch.setattr(objective, "preview", lambda: __import__("PIL.Image").Image.new("RGB", (1, 1)))
    trainer = Trainer(made, objective, feed, tmp_path / "run", CPU)
    before = {n: p.detach().clone() for n, p in trainer.trained[0].module.named_parameters()}
    counters = trainer.run()
    assert counters.step == 2 and counters.skipped == 0
    after = dict(trainer.trained[0].module.named_parameters())
    still = [n for n in before if torch.equal(before[n], after[n])]
    assert not still, f"never trained: {still}"
    assert oft.load_generator(tmp_path / "run" / "model").num_tokens == 16


def test_a_run_goes_on_with_the_same_text_encoder_alone(
    tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name in the recipe stays; the weights behind it do not."""
    encoder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, encoder)
    made = small("gpt-mini-captions", encoder)
    gpt_config = dataclasses.replace(made.generator.gpt, num_tokens=16, width=64, depth=1)
    made = dataclasses.replace(made, generator=dataclasses.replace(made.generator, gpt=gpt_config))

    def run() -> int:
        feed = TokenFeed(RandomTokens(16))  # pyright: ignore
        objective = build_objective(made, feed)
        monkeypatch.setattr(objective, "preview", lambda: Image.new("RGB", (1, 1)))
        return Trainer(made, objective, feed, tmp_path / "run", CPU).run().step

    assert run() == run() == 2
    file = encoder / "model.safetensors"
    weights = load_file(file)
    weights["encoder.layer.0.output.dense.bias"] += 1e-3
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"another recipe \(different: facts\.text_encoder\)"):
        run()


def test_a_step_at_the_papers_smallest_size() -> None:
    """One sequence forward and backward through d10 and the whole vocabulary."""
    from openflextok.types import Draws

    feed = TokenFeed(RandomTokens(256))  # pyright: ignore
    made = recipe("gpt-d10")
    made = dataclasses.replace(made, train=dataclasses.replace(made.train, preview_images=2))
    objective = build_objective(made, feed)
    batch = next(feed.batches(1, 0))
    with torch.autocast("cpu", torch.bfloat16):
        terms, metrics = objective.phases[0].module(*batch.inputs.values(), Draws([0]), 0)
    terms["cross_entropy"].backward()
    assert metrics["bits_per_token"].item() == pytest.approx(16, abs=0.5)  # log2(65,536) at the start
    gradients = [p.grad for p in objective.phases[0].module.parameters()]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)


def test_only_conditions_that_can_be_sampled_are_shown() -> None:
    made = recipe("gpt-mini-labels")
    made = dataclasses.replace(made, train=dataclasses.replace(made.train, preview_images=4))
    heldout = RandomTokens(64)
    heldout.label = lambda row: ("odd", "unheard of", None)[row % 3]  # pyright: ignore
    objective = build_objective(made, TokenFeed(RandomTokens(64), heldout))  # pyright: ignore
    ids, conditions = objective.shown
    assert set(conditions) <= {"odd", None} and "odd" in conditions
    assert len(ids) == len(conditions) > 0
    heldout.label = lambda row: "unheard of"  # pyright: ignore
    with pytest.raises(ValueError, match="no held-out example has a condition that training knows: unknown label"):
        build_objective(made, TokenFeed(RandomTokens(64), heldout))  # pyright: ignore
