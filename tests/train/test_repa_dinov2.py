"""A DINOv2 teacher, with random weights in a folder as transformers saves them."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest_train import TINY
from torch import nn

from openflextok.config import ConfigError
from openflextok.data.sources import FolderSource
from openflextok.overrides import with_settings
from openflextok.recipes import recipe
from openflextok.train.build import build_objective
from openflextok.train.feeds import ImageFeed
from openflextok.train.loop import Trainer
from openflextok.train.parallel import World
from openflextok.train.repa import Dinov2Teacher
from openflextok.train.settings import Dinov2TeacherConfig

PATCH = 14


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=4 * PATCH, initializer_range=0.5
    )
    model, folder = transformers.Dinov2Model(config).eval(), tmp_path_factory.mktemp("teachers") / "dinov2"
    model.save_pretrained(folder)
    return model, folder


def test_its_features_are_those_of_one_patch_for_sixteen_pixels(dinov2: tuple[nn.Module, Path]) -> None:
    model, folder = dinov2
    images = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    unit = (images + 1) / 2
    seen = F.interpolate(unit, size=(4 * PATCH, 2 * PATCH), mode="bicubic", antialias=True)
    seen = torch.stack([(seen[:, c] - m) / s for c, (m, s) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225)))], 1)  # fmt: skip
    with torch.inference_mode():
        patches_BPD = model(pixel_values=seen).last_hidden_state[:, 1:]  # the first is the class token
        found_BDhw = Dinov2Teacher(Dinov2TeacherConfig(str(folder))).eval()(images)
    assert found_BDhw.shape == (2, 16, 4, 2)
    for row in range(4):
        torch.testing.assert_close(found_BDhw[:, :, row, 1], patches_BPD[:, 2 * row + 1], rtol=1e-4, atol=1e-4)


def test_training_aligns_with_it_and_does_not_change_it(
    dinov2: tuple[nn.Module, Path], pictures: Path, tmp_path: Path
) -> None:
    teacher = f"repa={{type: Repa, teacher: {{type: Dinov2Teacher, weights: {dinov2[1]}}}, hidden: 32}}"
    made = with_settings(recipe("toy"), [*TINY, "train.steps=12", "train.log_every=1", teacher])
    feed = ImageFeed(made.data, FolderSource(pictures))
    torch.manual_seed(0)
    trainer = Trainer(made, build_objective(made, feed), feed, tmp_path / "run", World(0, 1, torch.device("cpu")))
    trainer.run()
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["repa"] < 0.9 * lines[0]["repa"]
    inside = dict(trainer.trained[0].module.named_parameters())
    for name, weight in dinov2[0].named_parameters():
        assert torch.equal(inside[f"repa.teacher.network.{name}"], weight)


@pytest.mark.parametrize("weights", ["/nowhere", "owner/nothing"])
def test_weights_that_are_not_there_are_named(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=f"no DINOv2 weights in '{weights}' .*set repa.teacher.weights to a folder"):
        Dinov2Teacher(Dinov2TeacherConfig(weights))
