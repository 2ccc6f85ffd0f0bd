"""Every recipe builds, has the size that it says, and takes two steps where memory allows."""

import dataclasses
from pathlib import Path

import pytest
import torch

from openflextok.config import from_dict, to_dict
from openflextok.data.base import ImageSource, Words
from openflextok.recipes import RECIPES, recipe
from openflextok.recipes.flextok import flextok
from openflextok.recipes.relatives import flextok_32px
from openflextok.tokenizer import build_part
from openflextok.train.autoencoder import AutoencoderObjective
from openflextok.train.build import build_objective
from openflextok.train.feeds import ImageFeed
from openflextok.train.loop import Trainer
from openflextok.train.parallel import World
from openflextok.train.settings import AutoencoderRecipe, StubTeacherConfig, TokenizerRecipe


class Noise(ImageSource):
    """Eight pictures of noise."""

    def __len__(self) -> int:
        return 8

    def name(self, index: int) -> str:
        return str(index)

    def words(self, index: int) -> Words:
        return Words()

    def picture(self, index: int):
        from PIL import Image

        pixels = torch.randint(0, 256, (48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        return Image.fromarray(pixels.numpy())


def parameters(part: torch.nn.Module) -> int:
    return sum(p.numel() for name, p in part.named_parameters() if not name.endswith("patches.positions"))


@pytest.mark.parametrize(("encoder", "decoder", "millions"), [(12, 12, 257), (18, 18, 865), (18, 28, 2456)])
def test_paper_sizes(encoder: int, decoder: int, millions: int) -> None:
    config = flextok(encoder, decoder)
    with torch.device("meta"):
        total = parameters(build_part(config.encoder)) + parameters(build_part(config.decoder))
        space = parameters(build_part(config.space))
    assert round(total / 1e6) == millions
    assert round(space / 1e6, 1) == 83.8


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json_and_say_what_they_are(name: str) -> None:
    made = recipe(name)
    assert from_dict(type(made), to_dict(made)) == made
    text = RECIPES[name].__doc__ or ""
    assert "openflextok train" in text and "Cost:" in text and ("Expected:" in text or "Result:" in text)


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'flextok-mini'"):
        recipe("flextok-mni")


def small(made: TokenizerRecipe | AutoencoderRecipe, tmp_path: Path) -> TokenizerRecipe | AutoencoderRecipe:
    """The recipe with its own structure, but a batch of two, two steps, and nothing to download."""
    train = dataclasses.replace(
        made.train, steps=2, batch_size=2, micro_batch_size=1, save_every=2, preview_images=1, parallel="ddp"
    )
    data = dataclasses.replace(made.data, workers=0, cache=False)
    if isinstance(made, AutoencoderRecipe):
        data = dataclasses.replace(data, image_size=(64, 64))
        return dataclasses.replace(made, train=train, data=data, perceptual="none", adversarial_start=1)
    if made.space_weights:
        space = dataclasses.replace(made.tokenizer.space, block_out_channels=(16, 16, 16, 16), layers_per_block=1, norm_num_groups=8)  # fmt: skip
        vae = AutoencoderRecipe("vae", space, data, train, perceptual="none")
        AutoencoderObjective(vae, ImageFeed(data, Noise())).export(tmp_path / "vae", "")
        from openflextok.convert.diffusers_vae import load_autoencoder

        space = load_autoencoder(tmp_path / "vae").config
        tokenizer = dataclasses.replace(made.tokenizer, space=space)
        made = dataclasses.replace(made, tokenizer=tokenizer, space_weights=str(tmp_path / "vae"))
    if made.image_losses is not None:
        made = dataclasses.replace(made, image_losses=dataclasses.replace(made.image_losses, perceptual="none", adversarial_start=1))  # fmt: skip
    if made.repa is not None:
        made = dataclasses.replace(made, repa=dataclasses.replace(made.repa, teacher=StubTeacherConfig()))
    return dataclasses.replace(made, train=train, data=data)


RELATIVES = ["titok", "one-d-piece", "grid2d", "semanticist", "flextok-vq", "flextok-lfq16", "flextok-uniform"]
RELATIVES += ["flextok-fixed", "flextok-bidirectional", "flextok-repa", "flextok-no-repa"]


@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_fit_together_at_full_size(name: str) -> None:
    made = recipe(name)
    assert isinstance(made, TokenizerRecipe) and made.name == name
    with torch.device("meta"):
        encoder, decoder = build_part(made.tokenizer.encoder), build_part(made.tokenizer.decoder)
    assert encoder.num_slots == decoder.num_tokens == 256


@pytest.mark.parametrize("name", ["toy", "flextok-mini", "kl-f8-mini", "kl-f8", *RELATIVES])
def test_two_steps(name: str, tmp_path: Path) -> None:
    made = small(RECIPES[name](flextok_32px()) if name in RELATIVES else recipe(name), tmp_path)
    feed, out = ImageFeed(made.data, Noise()), tmp_path / "run"
    trainer = Trainer(made, build_objective(made, feed), feed, out, World(0, 1, torch.device("cpu")))
    before = [p.detach().clone() for p in trainer.trained[0].module.parameters() if p.requires_grad]
    counters = trainer.run()
    after = [p for p in trainer.trained[0].module.parameters() if p.requires_grad]
    assert counters.step == 2 and counters.skipped == 0
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert (out / "model" / "config.json").is_file() and list((out / "previews").glob("*.png"))


@pytest.mark.parametrize("name", ["flextok-one-gpu", "flextok-d12-d12"])
def test_a_step_at_full_size(name: str, tmp_path: Path) -> None:
    """One image forward and backward through the real widths; d18 and d28 share every line of this code."""
    made = small(recipe(name), tmp_path)
    objective = build_objective(made, ImageFeed(made.data, Noise()))
    module = objective.phases[0].module
    from openflextok.types import Draws

    images = torch.rand(1, 3, *made.data.image_size) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        terms, _ = module(images, Draws([0]), 0)
    sum(terms.values()).backward()
    assert torch.isfinite(terms["flow"]) and torch.isfinite(terms["repa"])
