"""The MobileNetV2 teacher in a whole training, with random weights in place of the fetched ones."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from conftest_train import TINY
from torch import nn

from openflextok.convert import mobilenet
from openflextok.data.sources import FolderSource
from openflextok.nets.mobilenet import MobileNetV2
from openflextok.overrides import with_settings
from openflextok.recipes import recipe
from openflextok.train.build import build_objective
from openflextok.train.feeds import ImageFeed
from openflextok.train.loop import Trainer
from openflextok.train.objectives import TokenizerStep
from openflextok.train.parallel import World
from openflextok.train.repa import MobileNetTeacher
from openflextok.train.settings import MobileNetTeacherConfig, RepaConfig
from openflextok.types import Draws


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> MobileNetV2:
    """A MobileNetV2 whose random weights keep the size of what passes through; every teacher gets it."""
    torch.manual_seed(1)
    made = MobileNetV2().eval()
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    monkeypatch.setattr(mobilenet, "load_mobilenet", lambda: made)
    return made


def trainer(pictures: Path, out: Path, weight: float) -> Trainer:
    made = with_settings(recipe("toy"), [*TINY, "train.steps=2"])
    made = dataclasses.replace(made, repa=RepaConfig(MobileNetTeacherConfig(), weight, hidden=64))
    torch.manual_seed(0)
    feed = ImageFeed(made.data, FolderSource(pictures))
    return Trainer(made, build_objective(made, feed), feed, out, World(0, 1, torch.device("cpu")))


def train(pictures: Path, out: Path, weight: float) -> list[dict[str, float]]:
    trainer(pictures, out, weight).run()
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_the_alignment_loss_enters_the_total_with_its_weight(network, pictures: Path, tmp_path: Path) -> None:
    once, thrice = train(pictures, tmp_path / "once", 0.5), train(pictures, tmp_path / "thrice", 1.5)
    assert len(once) == len(thrice) == 2
    for line in (*once, *thrice):
        assert line["loss"] == pytest.approx(line["flow"] + line["saturation"] + line["repa"], rel=1e-6)
    first, other = once[0], thrice[0]  # the same weights and draws; after this step they differ
    assert first["flow"] == other["flow"] and 0 < first["repa"] < 2 * 0.5
    assert other["repa"] == pytest.approx(3 * first["repa"], rel=1e-5)
    assert other["loss"] - first["loss"] == pytest.approx(2 * first["repa"], rel=1e-4)


def test_the_term_is_one_minus_the_cosine_with_the_networks_map(network, pictures: Path, tmp_path: Path) -> None:
    """At stride 8, 32 px give a map of 4 x 4: on a decoder grid of 4 x 4 nothing has to be resized."""
    step = trainer(pictures, tmp_path / "run", 0.5).objective.phases[0].module
    assert isinstance(step, TokenizerStep) and step.repa is not None
    step.repa.teacher.stride, step.repa.projection = 8, nn.Identity()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    target = network.spatial(images, stride=8).flatten(2).transpose(1, 2)
    features = torch.randn_like(target)
    cosine = (features * target).sum(-1) / (features.norm(dim=-1) * target.norm(dim=-1))
    torch.testing.assert_close(step.repa(features, images).terms["repa"], 0.5 * (1 - cosine.mean()))


def test_gradients_reach_the_feature_block_but_not_the_teacher(
    network, randomise, pictures: Path, tmp_path: Path
) -> None:
    made = trainer(pictures, tmp_path / "run", 0.5)
    step = made.objective.phases[0].module
    assert isinstance(step, TokenizerStep) and step.repa is not None
    teacher = step.repa.teacher
    assert isinstance(teacher, MobileNetTeacher) and teacher.network is network
    trained = {id(p) for group in made.trained[0].optimizer.param_groups for p in group["params"]}
    assert trained.isdisjoint(id(p) for p in network.parameters())
    before = [p.clone() for p in network.parameters()]

    randomise(step.tokenizer)  # adaLN gates start at zero, and would hide what is inside the blocks
    terms, _ = step(torch.rand(4, 3, 32, 32) * 2 - 1, Draws(range(4)), 0)
    terms["repa"].backward()
    decoder = step.tokenizer.decoder
    upto = decoder.config.feature_block
    gradients = [[p.grad for p in block.parameters()] for block in decoder.blocks]
    assert 0 < upto < len(gradients)
    assert all(g is not None and bool(g.any()) for block in gradients[:upto] for g in block)
    assert all(g is None for block in gradients[upto:] for g in block)
    assert all(p.grad is not None and bool(p.grad.any()) for p in step.repa.projection.parameters())

    made.run()
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
