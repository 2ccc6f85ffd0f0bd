"""A folder of labelled pictures of which some are broken, a tiny tokenizer, and the command on them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import openflextok as oft

sys.path.insert(0, str(Path(__file__).parent))
from token_set_helpers import BROKEN, PICTURES, command, environment, tiny


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    oft.save(tiny(), folder)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PICTURES files with meta.jsonl: three labels and none, captions for every other one; the BROKEN are damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(PICTURES):
        path = folder / f"{i:02}.png"
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize((40, 30), Image.Resampling.BICUBIC).save(path)
        if i in BROKEN:
            path.write_bytes(path.read_bytes()[: 100 * (i % 2)])
        row = {"file": path.name, "label": ("dog", "Ärger", "cat", None)[i % 4]}
        rows.append(row | ({"caption": f"picture {i} of 猫"} if i % 2 else {}))
    (folder / "meta.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Runs the command; returns stdout and stderr together."""

    def go(*arguments: object, processes: int = 1, code: int = 0) -> str:
        done = subprocess.run(
            command(*arguments, processes=processes),
            capture_output=True, text=True, timeout=120, check=False, env=environment(),
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return go


@pytest.fixture
def tokenize(checkpoint: Path, pictures: Path) -> Callable[..., Path]:
    """`openflextok tokenize` in this process, on one thread; returns the folder."""
    from openflextok.cli.tokenize import tokenize as typed

    def go(out: Path, data: Path | str = pictures, tokenizer: Path = checkpoint, **options: object) -> Path:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            typed(str(data), out=out, tokenizer=str(tokenizer), **options)  # pyright: ignore
        finally:
            torch.set_num_threads(threads)
        return out

    return go


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """All files of a set but the lock."""
    return lambda folder: {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}
