"""What the relatives add to training: codebooks without gradients, terms on rebuilt images, a critic."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from conftest_train import TINY, run, train_arguments
from safetensors.torch import load_file

from openflextok.config import ConfigError, VQConfig
from openflextok.data.sources import FolderSource
from openflextok.nets.lpips import LPIPS
from openflextok.overrides import with_settings
from openflextok.recipes import recipe
from openflextok.recipes.relatives import flextok_vq, titok
from openflextok.train import image_losses
from openflextok.train.build import build_objective
from openflextok.train.feeds import ImageFeed
from openflextok.train.loop import Trainer
from openflextok.train.objectives import rebuilt_images
from openflextok.train.parallel import World
from openflextok.train.settings import ImageLossesConfig, TokenizerRecipe
from openflextok.train.state import finished_checkpoints
from openflextok.types import Draws

VQ = "tokenizer.quantizer={type: VQ, codes: 32, dim: 6, restart_after: 2}"
CRITIC = ImageLossesConfig("none", adversarial_weight=0.1, adversarial_start=1)


def small(*settings: str) -> TokenizerRecipe:
    made = with_settings(recipe("toy"), [*TINY, "train.steps=4", *settings])
    assert isinstance(made, TokenizerRecipe)
    return made


def trainer(made: TokenizerRecipe, pictures: Path, out: Path) -> Trainer:
    torch.manual_seed(0)
    feed = ImageFeed(made.data, FolderSource(pictures))
    return Trainer(made, build_objective(made, feed), feed, out, World(0, 1, torch.device("cpu")))


def state(out: Path) -> dict[str, torch.Tensor]:
    return load_file(finished_checkpoints(out)[-1] / "resume" / "state.safetensors")


def test_a_codebook_resumes_exactly_and_is_part_of_the_model(pictures: Path, tmp_path: Path) -> None:
    made = small(VQ)
    trainer(made, pictures, tmp_path / "whole").run()
    trainer(made, pictures, tmp_path / "broken").run(max_minutes=0)
    trainer(made, pictures, tmp_path / "broken").run()
    whole, broken = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert whole.keys() == broken.keys() and all(torch.equal(whole[name], broken[name]) for name in whole)
    assert whole["tokenizer/buffers/tokenizer.quantizer.mass_K"].ne(1).any()
    exported = load_file(tmp_path / "whole/model/model.safetensors")
    assert torch.equal(exported["quantizer.codebook_KD"], whole["tokenizer/buffers/tokenizer.quantizer.codebook_KD"])
    assert "quantizer.mass_K" not in exported


@pytest.mark.parametrize("decay", ["0.9", "null"])
def test_a_frozen_encoder_keeps_its_codebook(decay: str, pictures: Path, tmp_path: Path) -> None:
    """Else the ids of the same image would change."""
    quantizer = f"tokenizer.quantizer={{type: VQ, codes: 32, dim: 6, restart_after: 1, decay: {decay}}}"
    made = trainer(small(quantizer, "frozen=[encoder]"), pictures, tmp_path / "run")
    before = made.objective.tokenizer.fingerprint()
    made.run()
    assert made.objective.tokenizer.fingerprint() == before


def test_two_processes_learn_the_codebook_of_one(pictures: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        run(train_arguments(pictures, tmp_path / str(processes), "train.steps=3", VQ), processes=processes)
    one, two = (state(tmp_path / str(n))["tokenizer/buffers/tokenizer.quantizer.codebook_KD"] for n in (1, 2))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)
    start = flextok_vq(small()).tokenizer.quantizer
    assert isinstance(start, VQConfig) and start.codes == 64_000


def test_a_critic_judges_a_pixel_decoder_in_a_phase_of_its_own(pictures: Path, tmp_path: Path) -> None:
    made = trainer(titok(small(), CRITIC), pictures, tmp_path / "run")
    tokenizer, critic = made.trained
    assert not any("critic" in name for name, _ in tokenizer.module.named_parameters())
    before = [p.detach().clone() for p in critic.module.parameters()]
    made.run()
    assert any(not torch.equal(a, b) for a, b in zip(before, critic.module.parameters(), strict=True))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert "adversarial" not in lines[0] and "adversarial" in lines[1] and "critic/critic" in lines[0]
    assert set(lines[1]) >= {"l2", "saturation", "codes_used"}


def test_a_critic_that_is_not_finite_skips_its_own_step_alone(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = trainer(titok(small("train.steps=1"), CRITIC), pictures, tmp_path / "run")
    ended: list[tuple[str, bool]] = []
    made.objective.phases = [
        dataclasses.replace(phase, end_step=lambda applied, name=phase.name: ended.append((name, applied)))
        for phase in made.objective.phases
    ]
    with torch.no_grad():
        made.trained[1].module.critic.layers[0].bias.fill_(float("nan"))  # pyright: ignore
    before = [[p.detach().clone() for p in phase.module.parameters()] for phase in made.trained]
    made.run()
    changed = [
        any(not torch.equal(a, b) for a, b in zip(old, phase.module.parameters(), strict=True) if not b.isnan().any())
        for old, phase in zip(before, made.trained, strict=True)
    ]
    assert changed == [True, False] and ended == [("tokenizer", True), ("critic", False)]
    assert made.counters.skipped == 1 and "gradient of the critic is not finite" in caplog.text


def test_the_perceptual_term_is_that_of_the_rebuilt_images(pictures: Path, tmp_path: Path, monkeypatch) -> None:
    torch.manual_seed(1)
    network = LPIPS("alex").requires_grad_(False).eval()
    monkeypatch.setattr(image_losses, "load_lpips", lambda net: network)
    made = trainer(titok(small("train.precision=fp32"), ImageLossesConfig("alex", 0.25)), pictures, tmp_path / "run")
    images, draws = torch.rand(2, 3, 32, 32) * 2 - 1, [Draws([1, 2]), Draws([1, 2])]
    terms, _ = made.trained[0].module(images, draws[0], 0)
    tokenizer = made.objective.tokenizer
    losses, _ = tokenizer.losses(images, draws[1])
    expected = 0.25 * network(rebuilt_images(tokenizer, losses), images).mean()
    torch.testing.assert_close(terms["perceptual"], expected)
    assert terms["perceptual"].requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: dataclasses.replace(made, image_losses=CRITIC), "rebuilds images in one pass"),
        (lambda made: titok(with_settings(made, ["train.parallel=fsdp"]), CRITIC), "critic cannot be sharded"),
        (
            lambda made: with_settings(
                made, ["train.parallel=fsdp", "tokenizer.quantizer={type: VQ, codes: 32, dim: 6, decay: null}"]
            ),
            "codebook that learns by gradient cannot be sharded",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(change, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        change(small())
