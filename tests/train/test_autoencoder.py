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

from openflextok import checkpoint
from openflextok.config import AutoencoderKLConfig, ConfigError
from openflextok.data.sources import FolderSource, ImageSource, Words
from openflextok.overrides import with_settings
from openflextok.recipes import recipe
from openflextok.spaces.autoencoder_kl import AutoencoderKL
from openflextok.storage import CheckpointError
from openflextok.tokenizer import Tokenizer
from openflextok.train import autoencoder
from openflextok.train.autoencoder import CHUNK, latent_std, open_autoencoder
from openflextok.train.build import build_objective
from openflextok.train.feeds import ImageFeed
from openflextok.train.loop import Trainer
from openflextok.train.parallel import World
from openflextok.types import Draws

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


def frozen_run(pictures: Path, tmp_path: Path, *settings: str) -> tuple[Path, Path]:
    """An autoencoder, and one from a run that started with it and a frozen encoder."""
    trainer(pictures, tmp_path / "first").run()
    first, after = tmp_path / "first" / "model", tmp_path / "next" / "model"
    trainer(pictures, tmp_path / "next", f"start_from={first}", "frozen=[encoder]", "train.seed=1", *settings).run()
    return first, after


def test_a_frozen_encoder_keeps_latents_and_their_scale_and_the_way_back_learns(pictures: Path, tmp_path: Path) -> None:
    models = frozen_run(pictures, tmp_path, "latent_noise=0.5")
    before, after = (load_file(folder / "diffusion_pytorch_model.safetensors") for folder in models)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith(AutoencoderKL.way_back) for name in changed)
    assert {name for name in before if name.startswith("decoder.") and "bias" not in name} <= changed
    factors = [json.loads((folder / "config.json").read_text())["scaling_factor"] for folder in models]
    assert factors[0] == factors[1] != 1


def test_another_scale_of_the_latents_is_another_run(pictures: Path, tmp_path: Path) -> None:
    first, _ = frozen_run(pictures, tmp_path)
    config = json.loads((first / "config.json").read_text())
    config["scaling_factor"] *= 2
    (first.resolve() / "config.json").write_text(json.dumps(config))
    again = f"start_from={first}", "frozen=[encoder]", "train.seed=1"
    with pytest.raises(CheckpointError, match=r"different: facts\.space_config\)"):
        trainer(pictures, tmp_path / "next", *again).run()


def test_noise_on_latents_is_each_samples_own_and_no_larger_than_stated(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(pictures, tmp_path / "first").run()
    start = f"start_from={tmp_path / 'first' / 'model'}"
    step = (
        trainer(pictures, tmp_path / "next", start, "frozen=[encoder]", "latent_noise=0.5").objective.phases[0].module
    )
    assert isinstance(step, autoencoder.AutoencoderStep)
    space, images = step.space, torch.zeros(64, 3, 32, 32)
    torch.nn.init.zeros_(space.quant_conv.weight)  # pyright: ignore
    with torch.no_grad():
        space.quant_conv.bias.copy_(torch.tensor([0.0] * 4 + [-30.0] * 4))  # pyright: ignore  (mean 0, std e^-15)
    seen: list[Tensor] = []
    monkeypatch.setattr(space, "reconstruct", lambda z_BCHW: seen.append(z_BCHW) or images)
    step(images, Draws(range(64)), 0)
    draws = Draws(range(64))
    draws.normal(4, 16, 16)
    expected_B = draws.uniform() * 0.5
    added_B = (seen[0] * space.config.scaling_factor).flatten(1).std(1)
    assert torch.allclose(added_B, expected_B, rtol=0.15, atol=1e-4)  # std of 1,024 values
    assert added_B.max() > 0.4 and added_B.min() < 0.1


def test_an_autoencoder_is_found_in_a_tokenizer_too(kl_tokenizer: Tokenizer, tmp_path: Path) -> None:
    checkpoint.save(kl_tokenizer, tmp_path / "kl")
    found, expected = open_autoencoder(str(tmp_path / "kl")), kl_tokenizer.space.state_dict()
    assert found.config == kl_tokenizer.config.space
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())


def test_a_tokenizer_of_pixels_has_no_autoencoder(make_tokenizer, tmp_path: Path) -> None:
    checkpoint.save(make_tokenizer("pixels"), tmp_path / "pixels")
    with pytest.raises(ConfigError, match="is no autoencoder"):
        open_autoencoder(str(tmp_path / "pixels"))


def test_a_folder_with_a_pickled_autoencoder_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    (tmp_path / "diffusion_pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match="pickles such as diffusion_pytorch_model.bin"):
        open_autoencoder(str(tmp_path))


def test_images_that_latents_do_not_divide_are_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(32, 33\): both must be multiples of 2"):
        trainer(pictures, tmp_path / "run", "data.image_size=[32, 33]")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("frozen=[encoder]",), "set start_from"),
        (("latent_noise=0.5",), "needs frozen"),
        (("latent_noise=-1",), "at least 0"),
        (("start_from=x", "frozen=[encoder]", "latent_noise=nan"), "finite"),
        (("train.micro_batch_size=-1",), "at least 0"),
        (("start_from=x", "frozen=[decoder]"), "encoder"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        with_settings(recipe("kl-f8-mini"), settings)
