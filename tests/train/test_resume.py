"""A killed run, started again with the same command, ends exactly where an unbroken one does."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

from conftest_train import command, environment, run, train_arguments

from openflextok.checkpoint import load
from openflextok.train.state import finished_checkpoints


def state_of(out: Path) -> dict[str, bytes]:
    last = finished_checkpoints(out)[-1]
    inside = {str(path.relative_to(last)): path.read_bytes() for path in sorted(last.rglob("*")) if path.is_file()}
    return inside | {"metrics": (out / "metrics.jsonl").read_bytes()}


def wait_for_step(out: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        lines = (out / "metrics.jsonl").read_text().splitlines() if (out / "metrics.jsonl").exists() else []
        if lines and lines[-1].endswith("}") and json.loads(lines[-1])["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"the run never reached step {step}")


def test_killed_and_restarted_equals_unbroken(pictures: Path, tmp_path: Path) -> None:
    steps = "train.steps=16"
    run(train_arguments(pictures, tmp_path / "unbroken", steps))
    broken = train_arguments(pictures, tmp_path / "broken", steps)
    random.seed()
    for _ in range(2):
        process = subprocess.Popen(
            command(*broken), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        kill_at = random.randint(4, 14)
        wait_for_step(tmp_path / "broken", kill_at, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert "resumed" in run(broken)
    assert state_of(tmp_path / "unbroken") == state_of(tmp_path / "broken"), f"killed at step {kill_at}"
    assert len(finished_checkpoints(tmp_path / "broken")) == 2  # the last two are kept
    assert load(tmp_path / "broken" / "model").num_tokens == 16


def test_sigterm_to_the_whole_group_saves_and_exits_well(pictures: Path, tmp_path: Path) -> None:
    long = ("train.steps=100000", "train.save_every=100000", "data.workers=1")
    arguments = train_arguments(pictures, tmp_path / "run", *long)
    process = subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    wait_for_step(tmp_path / "run", 3, process)
    os.killpg(process.pid, signal.SIGTERM)  # the loading worker gets it too
    assert process.wait(timeout=60) == 0
    last = finished_checkpoints(tmp_path / "run")[-1]
    assert json.loads((last / "resume" / "counters.json").read_text())["step"] >= 3
    assert load(tmp_path / "run" / "model").num_tokens == 16


def test_max_minutes(pictures: Path, tmp_path: Path) -> None:
    text = run([*train_arguments(pictures, tmp_path / "run", "train.steps=100000"), "--max-minutes", "0.02"])
    assert "of 100000 steps" in text
    assert finished_checkpoints(tmp_path / "run")


def test_a_critic_resumes_exactly(pictures: Path, tmp_path: Path) -> None:
    """Two phases: both optimizers, both averages, and the critic's spectral-norm buffers."""
    shape = "autoencoder.block_out_channels=[16, 16]", "autoencoder.layers_per_block=1", "autoencoder.norm_num_groups=8"
    settings = (*shape, "data.image_size=[32, 32]", "perceptual=none", "adversarial_start=1", "train.steps=6")
    small = (*settings, "train.micro_batch_size=0")
    run(train_arguments(pictures, tmp_path / "unbroken", *small, recipe="kl-f8"))
    broken = train_arguments(pictures, tmp_path / "broken", *small, recipe="kl-f8")
    run([*broken, "--max-minutes", "0"])
    assert "resumed" in run(broken)
    unbroken, resumed = state_of(tmp_path / "unbroken"), state_of(tmp_path / "broken")
    assert unbroken == resumed
