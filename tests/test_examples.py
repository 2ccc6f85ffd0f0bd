"""Every example runs as its readers start it, is short, and does what it says."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from openflextok.checkpoint import load
from openflextok.types import Draws, Slots

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short_and_say_what_they_show(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 80
    assert text.startswith('"""') and f"python examples/{path.name}" in text
    assert f"examples/{path.name}" in (EXAMPLES.parent / "README.md").read_text()


def test_encode_decode(tmp_path: Path) -> None:
    text = run("encode_decode.py", str(tmp_path / "out.png"), "--steps", "2")
    tokenizer = load()
    with Image.open(EXAMPLES.parent / "src/openflextok/photos/apple.jpg") as photo:
        assert str(tokenizer.encode([photo]).ids[0, :8].tolist()) in text
    with Image.open(tmp_path / "out.png") as picture:  # the photo, and prefixes of 1, 4, 16, 64 tokens
        assert picture.width >= 5 * tokenizer.image_size[1] and picture.height > tokenizer.image_size[0]


def test_train_on_folder_and_again(tmp_path: Path) -> None:
    arguments = str(tmp_path / "run"), "--steps", "10", "--batch-size", "4"
    text = run("train_on_folder.py", *arguments)
    assert "step 10: loss" in text
    assert [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()] == [1, 10]
    assert load(tmp_path / "run/model").num_tokens == 16
    again = run("train_on_folder.py", *arguments)  # nothing left to train: the same tokenizer, no further step
    assert "step" not in again and again.splitlines()[-1] == text.splitlines()[-1]


def test_custom_part(tmp_path: Path) -> None:
    assert "trained: 16 tokens" in run("custom_part.py", str(tmp_path / "run"))
    facts = json.loads((tmp_path / "run/recipe.json").read_text())["facts"]
    assert facts["lengths"] == "geometric 0.8"


def test_geometric_lengths_have_their_distribution() -> None:
    policy = runpy.run_path(str(EXAMPLES / "custom_part.py"))["Geometric"](0.5)
    keep_BN = policy(Slots(torch.zeros(4000, 4, 6)), Draws(range(4000)))
    lengths = keep_BN.sum(1)
    assert torch.equal(keep_BN, torch.arange(4) < lengths[:, None])  # prefixes
    shares = torch.bincount(lengths, minlength=5) / 4000
    torch.testing.assert_close(shares, torch.tensor([0, 0.5, 0.25, 0.125, 0.125]), atol=0.03, rtol=0)
