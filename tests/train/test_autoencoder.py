"""The measured scaling factor of a trained latent space."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from conftest_train import TINY
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from openflextok.config import AutoencoderKLConfig
from openflextok.data.sources import FolderSource, ImageSource, Words
from openflextok.overrides import with_settings
from openflextok.recipes import recipe
from openflextok.spaces.autoencoder_kl import AutoencoderKL
from openflextok.train import autoencoder
from openflextok.train.autoencoder import CHUNK, latent_std
from openflextok.train.build import build_objective
from openflextok.train.feeds import ImageFeed
from openflextok.train.loop import Trainer
from openflextok.train.parallel import World

SHAPE = AutoencoderKLConfig(4, (8, 16), 1, norm_num_groups=4)


class Black(ImageSource):
    """Two black pictures."""

    def __len__(self) -> int:
        return 2

    def name(self, index: int) -> str:
        return str(index)

    def words(self, index: int) -> Words:
        return Words()

    def picture(self, index: int) -> Image.Image:
        return Image.new("RGB", (32, 32))


def trainer(pictures: Path, out: Path, *settings: str) -> Trainer:
    small = ("data.image_size=[32, 32]", "perceptual=none", "train.steps=4", *settings)
    made = dataclasses.replace(with_settings(recipe("kl-f8-mini"), [*TINY, *small]), autoencoder=SHAPE)
    torch.manual_seed(0)
    feed = ImageFeed(made.data, FolderSource(pictures), Black())  # as previews these tell nothing of the data
    return Trainer(made, build_objective(made, feed), feed, out, World(0, 1, torch.device("cpu")))


def test_training_crops_have_unit_variance_in_the_saved_space(pictures: Path, tmp_path: Path) -> None:
    made = trainer(pictures, tmp_path / "run")
    made.run()
    model = tmp_path / "run" / "model"
    factor = json.loads((model / "config.json").read_text())["scaling_factor"]
    space = AutoencoderKL(dataclasses.replace(SHAPE, scaling_factor=factor)).eval().requires_grad_(False)
    space.load_state_dict(load_file(model / "diffusion_pytorch_model.safetensors"))
    stream = made.feed.batches(1, 0)
    singly = [next(stream).images_BCHW for _ in range(24)]  # each picture once
    latents = torch.cat([space.encode(image) for image in singly])
    assert latents.std().item() == pytest.approx(1, abs=1e-3)
    assert space.encode(made.objective.shown_BCHW).std().item() != pytest.approx(1, abs=0.02)  # not what was measured


def test_the_sample_is_the_same_for_any_batch_size_and_after_a_restart(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def measure(space: AutoencoderKL, images: Tensor) -> float:
        seen.append(images)
        return 1.0

    monkeypatch.setattr(autoencoder, "latent_std", measure)

    def note(name: str, *settings: str, minutes: float = 1) -> None:
        trainer(pictures, tmp_path / name, *settings).run(minutes)

    note("two", "train.batch_size=2", minutes=0)
    note("two", "train.batch_size=2")
    note("four")
    assert len(seen) > 3 and all(torch.equal(sample, seen[0]) for sample in seen) and len(seen[0]) == 24
    note("another", "train.seed=1")
    assert not torch.equal(seen[-1], seen[0])


def test_chunks_do_not_change_the_deviation() -> None:
    space = AutoencoderKL(SHAPE).eval()
    images = torch.rand(CHUNK + 3, 3, 16, 16) * 2 - 1
    with torch.inference_mode():
        whole = space.posterior(images).mean_BCHW.double().numpy().std(ddof=1)
        assert latent_std(space, images) == pytest.approx(whole, rel=1e-5)
