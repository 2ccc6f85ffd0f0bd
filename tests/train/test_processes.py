"""Two gloo processes give the same losses and weights as one with the same global batch."""

import json
from pathlib import Path

import pytest
import torch
from conftest_train import run, train_arguments
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
