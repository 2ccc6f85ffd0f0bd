"""A generator's training keeps what the trainer promises: exact resume, processes that equal one, pictures, checkpoints."""

import json
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest_train import command, environment, run
from safetensors.torch import load_file
from test_resume import state_of, wait_for_step

import openflextok as oft
from openflextok.token_sets.reader import open_token_set
from openflextok.train.state import finished_checkpoints

SMALL = (
    "generator.gpt.num_tokens=16", "generator.gpt.width=64", "generator.gpt.depth=1", "train.batch_size=4",
    "train.precision=fp32", "train.save_every=3", "train.log_every=1", "train.preview_every=100",
    "train.preview_images=2", "train.optim.warmup_steps=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def tokens(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens of two random crops of labelled pictures, by a toy tokenizer with random weights."""
    from openflextok.recipes import recipe
    from openflextok.tokenizer import Tokenizer

    folder = tmp_path_factory.mktemp("tokens")
    torch.manual_seed(0)
    tokenizer = Tokenizer(recipe("toy").tokenizer)  # pyright: ignore
    for parameter in tokenizer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    oft.save(tokenizer, folder / "toy")
    labelled = folder / "pictures"
    for i, picture in enumerate(sorted(pictures.iterdir())):
        target = labelled / ("odd" if i % 2 else "even") / picture.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture.read_bytes())
    run(["tokenize", str(labelled), "--tokenizer", str(folder / "toy"), "--out", str(folder / "set"), "--crops", "2"])
    return folder / "set"


@pytest.fixture
def arguments(tokens: Path) -> Callable[..., list[str]]:
    def given(out: Path, *settings: str) -> list[str]:
        sets = [part for setting in (*SMALL, *settings) for part in ("--set", setting)]
        return ["train", "gpt-mini-labels", "--data", str(tokens), "--out", str(out), *sets]

    return given


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_killed_and_restarted_equals_unbroken(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    steps = "train.steps=40"
    run(arguments(tmp_path / "unbroken", steps))
    broken = arguments(tmp_path / "broken", steps)
    random.seed()
    kill_at = random.randint(4, 30)
    process = subprocess.Popen(
        command(*broken), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_step(tmp_path / "broken", kill_at, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "resumed" in run(broken)
    assert state_of(tmp_path / "unbroken") == state_of(tmp_path / "broken"), f"killed at step {kill_at}"


def test_two_processes_equal_one_and_the_result_generates(
    arguments: Callable[..., list[str]], tokens: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run(arguments(one, "train.steps=6"))
    run(arguments(two, "train.steps=6"), processes=2)
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)
    weights = [load_file(finished_checkpoints(out)[-1] / "resume" / "state.safetensors") for out in (one, two)]
    for name in weights[0]:
        if "/weights/" in name:
            torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-2, atol=1e-3)
    assert list((one / "previews").glob("*.png"))

    generator, source = oft.load_generator(one / "model"), open_token_set(tokens)
    assert generator.classes == ("even", "odd") and generator.num_tokens == 16
    assert (generator.config.tokenizer, generator.config.fingerprint) == (source.tokenizer, source.fingerprint)
    text = run(["generate", "--generator", str(one / "model"), "--label", "odd", "--label", "0", "-n", "2", "--steps", "2", "-o", str(tmp_path / "made.png")])  # fmt: skip
    assert "4 images of 16 tokens" in text
    from PIL import Image

    with Image.open(tmp_path / "made.png") as picture:
        assert picture.size[0] == 4 + 2 * 36 and picture.size[1] > 2 * 36


def test_sharded_equals_one(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    run(arguments(tmp_path / "one", "train.steps=3"))
    run(arguments(tmp_path / "two", "train.steps=3", "train.parallel=fsdp"), processes=2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-4)


def test_another_tokenizers_tokens_are_refused(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    text = run(arguments(tmp_path / "run", "generator.gpt.num_tokens=8"), code=2)
    assert "64000 ids and 16 per image, the generator 64000 and 8" in text and "Traceback" not in text
