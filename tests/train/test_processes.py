"""Two gloo processes give the same losses and weights as one with the same global batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest_train import environment, run, train_arguments
from safetensors.torch import load_file

from openflextok.train.state import finished_checkpoints

TOLERANCE = 2e-4  # relative, after 6 steps: sums of gradients are taken in another order


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(finished_checkpoints(out)[-1] / "resume" / "state.safetensors")


@pytest.fixture(scope="module")
def single(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("single") / "run"
    run(train_arguments(pictures, out, "train.steps=6"))
    return out


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_equal_one(parallel: str, single: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(train_arguments(pictures, out, "train.steps=6", f"train.parallel={parallel}"), processes=2)
    assert losses(out) == pytest.approx(losses(single), rel=TOLERANCE)
    ours, theirs = weights(out), weights(single)
    assert ours.keys() == theirs.keys()
    for name in ours:
        if "/weights/" in name:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-2, atol=1e-3)


def test_sharded_checkpoint_goes_on_in_one_process(single: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    sharded = train_arguments(pictures, out, "train.steps=6", "train.parallel=fsdp")
    run([*sharded, "--max-minutes", "0"], processes=2)
    assert "resumed" in run(train_arguments(pictures, out, "train.steps=6"))
    assert losses(out) == pytest.approx(losses(single), rel=TOLERANCE)


def test_micro_batches_equal_one_batch(single: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(train_arguments(pictures, out, "train.steps=6", "train.micro_batch_size=1"))
    assert losses(out) == pytest.approx(losses(single), rel=TOLERANCE)


TEXT_STEP = """
import torch
import openflextok.conditioning.text as text
from openflextok.config import GeneratorConfig, GPTConfig, TextCrossConfig
from openflextok.generators.generator import Generator
from openflextok.train import parallel
from openflextok.train.generation import GeneratorStep
from openflextok.types import Draws

class Stub:
    def __init__(self, name, width, length):
        self.width, self.length, self.network = width, length, torch.nn.Identity()

    def prepare(self, captions, cut):
        return torch.zeros(len(captions), self.length, dtype=torch.int64)

    def __call__(self, ids):
        return torch.ones(*ids.shape, self.width), ids != 0

text.TextEncoder = Stub
torch.manual_seed(0)
with parallel.world() as world:
    step = GeneratorStep(Generator(GeneratorConfig(GPTConfig(64, 2, 16, 4), TextCrossConfig("stub", 32, 5))), 0.1)
    wrapped = parallel.wrap(step, world, "fsdp")
    terms, _ = wrapped(torch.ones(2, 4, dtype=torch.int64), torch.ones(2, 5, dtype=torch.int64), Draws([1, 2]), 0)
    terms["cross_entropy"].backward()
    lacking = [name for name, p in step.named_parameters() if p.grad is None]
    print(f"lacking {lacking}")
    del wrapped, step
"""


def test_cross_attention_to_a_text_trains_in_shards(tmp_path: Path) -> None:
    """Keys and values of the text are projected outside the forward of the sharded blocks."""
    (tmp_path / "step.py").write_text(TEXT_STEP)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "step.py"]
    done = subprocess.run(
        launch, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("lacking []") == 2, done.stdout
