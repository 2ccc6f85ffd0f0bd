"""A small folder of real-looking pictures, and runs of the command on it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = [
    "train.batch_size=4",
    "train.precision=fp32",
    "train.save_every=3",
    "train.log_every=1",
    "train.preview_every=100",
    "train.preview_images=2",
    "train.optim.warmup_steps=2",
    "data.workers=0",
]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 smooth random pictures of 40 x 48 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(24):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"{i:02}.png")
    return folder


def command(*arguments: str, processes: int = 1) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, "-m", "openflextok", *arguments]


def train_arguments(pictures: Path, out: Path, *settings: str, recipe: str = "toy") -> list[str]:
    sets = [part for setting in (*TINY, *settings) for part in ("--set", setting)]
    return ["train", recipe, "--data", str(pictures), "--out", str(out), *sets]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run(arguments: list[str], processes: int = 1, code: int = 0) -> str:
    done = subprocess.run(
        command(*arguments, processes=processes),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr
