"""What goes wrong in training, and the alignment term."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest_train import TINY, run, train_arguments
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from openflextok.checkpoint import load
from openflextok.config import UniformConfig
from openflextok.data.sources import FolderSource
from openflextok.overrides import with_settings
from openflextok.recipes import recipe
from openflextok.storage import CheckpointError
from openflextok.train.build import build_objective
from openflextok.train.feeds import ImageFeed
from openflextok.train.loop import Trainer, TrainingDiverged
from openflextok.train.parallel import World
from openflextok.train.repa import Repa, StubTeacher
from openflextok.train.settings import RepaConfig, StubTeacherConfig

CPU = World(0, 1, torch.device("cpu"))


def trainer(pictures: Path, out: Path, *settings: str) -> Trainer:
    made = with_settings(recipe("toy"), [*TINY, "train.steps=6", *settings])
    torch.manual_seed(0)
    feed = ImageFeed(made.data, FolderSource(pictures))
    return Trainer(made, build_objective(made, feed), feed, out, CPU)


class PoisonAt(nn.Module):
    """Passes on to a module, but with a NaN in the loss at some steps."""

    def __init__(self, inner: nn.Module, steps: set[int]) -> None:
        super().__init__()
        self.inner, self.steps = inner, steps

    def forward(self, images, draws, step):
        terms, metrics = self.inner(images, draws, step)
        return {name: term * (float("nan") if step in self.steps else 1.0) for name, term in terms.items()}, metrics


def poison(made: Trainer, steps: set[int]) -> None:
    made.trained = [dataclasses.replace(t, wrapped=PoisonAt(t.wrapped, steps)) for t in made.trained]


def test_a_nonfinite_step_is_skipped_counted_and_kept(pictures: Path, tmp_path: Path) -> None:
    made = trainer(pictures, tmp_path / "run")
    poison(made, {2})
    counters = made.run()
    assert (counters.step, counters.skipped, counters.skipped_in_a_row) == (6, 1, 0)
    saved = load_file(tmp_path / "run/nonfinite/step-00000002-rank0.safetensors")
    assert saved["images"].shape == (4, 3, 32, 32)
    keys = json.loads((tmp_path / "run/nonfinite/step-00000002-rank0.json").read_text())["keys"]
    assert len(keys) == 4 and all((pictures / key).exists() or Path(key).exists() for key in keys)
    assert all(torch.isfinite(p).all() for p in made.trained[0].module.parameters())


def test_too_many_in_a_row_stop_with_an_explanation(pictures: Path, tmp_path: Path) -> None:
    made = trainer(pictures, tmp_path / "run", "train.nonfinite_patience=3")
    poison(made, {1, 2, 3})
    with pytest.raises(TrainingDiverged, match=r"3 steps in a row .* Lower train.optim.learning_rate"):
        made.run()


def test_corrupt_images_are_logged_and_skipped(pictures: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in pictures.iterdir():
        (mixed / path.name).write_bytes(path.read_bytes())
    (mixed / "broken.png").write_bytes((mixed / "00.png").read_bytes()[:60])
    made = trainer(mixed, tmp_path / "run", "train.steps=8")
    counters = made.run()
    lines = (tmp_path / "run/corrupt.jsonl").read_text().splitlines()
    assert counters.corrupt == len(lines) > 0
    assert all("broken.png" in line for line in lines)


def test_another_recipe_is_refused(pictures: Path, tmp_path: Path) -> None:
    run(train_arguments(pictures, tmp_path / "run", "train.steps=2"))
    text = run(train_arguments(pictures, tmp_path / "run", "train.steps=4", "train.seed=1"), code=2)
    assert "train.seed" in text and "another --out" in text and "Traceback" not in text


def test_fewer_steps_than_were_taken(pictures: Path, tmp_path: Path) -> None:
    assert "3 of 3 steps" in run(train_arguments(pictures, tmp_path / "run", "train.steps=3"))
    text = run(train_arguments(pictures, tmp_path / "run", "train.steps=2"))
    assert "3 steps, 2 asked for: nothing to do" in text


@pytest.mark.parametrize("entry", ["source", "heldout"])
def test_settings_that_options_replace_are_refused(entry: str, pictures: Path, tmp_path: Path) -> None:
    text = run(train_arguments(pictures, tmp_path / "run", f"data.{entry}=elsewhere"), code=2)
    assert "would not be heard: give --data and --heldout" in text and not (tmp_path / "run").exists()


def test_unknown_setting_is_refused(pictures: Path, tmp_path: Path) -> None:
    text = run(train_arguments(pictures, tmp_path / "run", "train.stepps=2"), code=2)
    assert "did you mean 'steps'" in text and "Traceback" not in text


def test_stub_teacher_is_the_same_everywhere() -> None:
    assert torch.equal(StubTeacher(StubTeacherConfig()).weight, StubTeacher(StubTeacherConfig()).weight)


def test_alignment_is_one_minus_cosine() -> None:
    repa = Repa(RepaConfig(StubTeacherConfig(dim=8, grid=4), weight=0.5), width=16)
    images, features = torch.rand(2, 3, 16, 16) * 2 - 1, torch.randn(2, 16, 16)
    target = repa.teacher(images).flatten(2).transpose(1, 2)
    predicted = repa.projection(features)
    cosine = (predicted * target).sum(-1) / (predicted.norm(dim=-1) * target.norm(dim=-1))
    losses = repa(features, images)
    torch.testing.assert_close(losses.terms["repa"], 0.5 * (1 - cosine.mean()))
    repa.projection = nn.Identity()
    torch.testing.assert_close(repa(target, images).terms["repa"], torch.tensor(0.0), atol=1e-6, rtol=0)


def test_alignment_gets_easier_with_training(pictures: Path, tmp_path: Path) -> None:
    made = with_settings(recipe("toy"), [*TINY, "train.steps=30"])
    made = dataclasses.replace(made, repa=RepaConfig(StubTeacherConfig(), hidden=64))
    torch.manual_seed(0)
    out = tmp_path / "run"
    feed = ImageFeed(made.data, FolderSource(pictures))
    Trainer(made, build_objective(made, feed), feed, out, CPU).run()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["repa"] < 0.8 * lines[0]["repa"]


def test_preview_is_a_picture_of_originals_and_prefixes(pictures: Path, tmp_path: Path) -> None:
    made = trainer(pictures, tmp_path / "run", "train.steps=2")
    made.run()
    with Image.open(tmp_path / "run/previews/step-00000002.png") as picture:
        assert picture.width > 7 * 32 and picture.height > 32  # original, space, 1, 2, 4, 8, 16


def test_a_checkpoint_goes_on_with_a_frozen_encoder(pictures: Path, tmp_path: Path) -> None:
    """Training starts from its weights; tokens stay the same, the decoder learns; another start is another run."""
    start = tmp_path / "start"
    trainer(pictures, tmp_path / "first").run()
    shutil.copytree(tmp_path / "first" / "model", start)
    before = load(start)
    settings = (f"start_from={start}", "frozen=[encoder]", "tokenizer.decoder.timesteps={type: Uniform}")
    made = trainer(pictures, tmp_path / "second", *settings)
    for name, weight in made.objective.tokenizer.state_dict().items():
        assert torch.equal(weight, before.state_dict()[name])
    made.run()
    after = load(tmp_path / "second" / "model")
    assert after.fingerprint() == before.fingerprint()
    changed = {n.split(".")[0] for n, w in after.state_dict().items() if not torch.equal(w, before.state_dict()[n])}
    assert changed == {"decoder"}
    assert after.config.decoder.timesteps == UniformConfig()
    shutil.rmtree(start)
    shutil.copytree(tmp_path / "second" / "model", start)
    with pytest.raises(CheckpointError, match=r"different: facts\.start"):
        trainer(pictures, tmp_path / "second", *settings).run()
