"""The command as a user meets it: every sub-command, wrong inputs, exit codes, no tracebacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import openflextok as oft
from openflextok.cli.reconstruct import PHOTOS
from openflextok.recipes import recipe
from openflextok.tokenfile import read_tokens
from openflextok.tokenizer import Tokenizer


def openflextok(*arguments: object, code: int = 0) -> str:
    """Run the command; returns stdout and stderr together."""
    done = subprocess.run(
        [sys.executable, "-m", "openflextok", *map(str, arguments)],
        capture_output=True, text=True, timeout=200, check=False, env=os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    assert "Traceback" not in text
    return text


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy tokenizer with random weights."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(recipe("toy").tokenizer)
    for parameter in tokenizer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("checkpoint") / "toy"
    oft.save(tokenizer, folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good images, of which two share a name, and three bad ones."""
    inside = tmp_path / "images"
    (inside / "more").mkdir(parents=True)
    for target, name in (("a.jpg", "apple.jpg"), ("b.jpg", "allium.jpg"), ("more/a.jpg", "mangoes.jpg")):
        (inside / target).write_bytes((PHOTOS / name).read_bytes())
    (inside / "empty.png").write_bytes(b"")
    (inside / "cut.jpg").write_bytes((PHOTOS / "apple.jpg").read_bytes()[:2000])
    (inside / "text.webp").write_text("not an image")
    return inside


def test_encode_decode_round_trip(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "tokens.safetensors"
    text = openflextok("encode", folder, "--out", out, "--checkpoint", checkpoint)
    assert "3 of 6 images, 3 skipped" in text and "empty.png" in text and "cut.jpg" in text and "text.webp" in text
    content = read_tokens(out)
    assert content.ids.shape == (3, 16) and len(content.names) == 3
    tokenizer = oft.load(checkpoint)
    assert torch.equal(content.ids[0], tokenizer.encode(Image.open(folder / "a.jpg")).ids[0])

    openflextok("decode", out, "--length", 4, "--steps", 3, "--out", tmp_path / "images4")
    names = sorted(p.name for p in (tmp_path / "images4").iterdir())
    assert names == ["a-2.png", "a.png", "b.png"]
    expected = oft.to_pil(tokenizer.decode(content.ids[:1, :4], steps=3))[0]
    with Image.open(tmp_path / "images4" / "a.png") as picture:
        assert max(abs(a - b) for a, b in zip(picture.tobytes(), expected.tobytes(), strict=True)) <= 1


def test_another_tokenizer_is_refused(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "tokens.safetensors"
    openflextok("encode", folder / "a.jpg", "--out", out, "--checkpoint", checkpoint)
    other = oft.load(checkpoint)
    with torch.no_grad():
        other.encoder.head.bias += 1  # pyright: ignore
    oft.save(other, tmp_path / "other")
    text = openflextok("decode", out, "--out", tmp_path / "x", "--tokenizer", tmp_path / "other", code=2)
    assert "another tokenizer" in text and "--tokenizer" in text


@pytest.mark.parametrize("length", [0, 17, 300])
def test_lengths_outside_are_refused(folder: Path, checkpoint: Path, tmp_path: Path, length: int) -> None:
    out = tmp_path / "tokens.safetensors"
    openflextok("encode", folder / "a.jpg", "--out", out, "--checkpoint", checkpoint)
    for arguments in (["decode", out], ["reconstruct", folder / "a.jpg", "--checkpoint", checkpoint]):
        text = openflextok(*arguments, "--length", length, "--out", tmp_path / "x", code=2)
        assert f"cannot keep {length} tokens" in text and "1 <= length <= 16" in text


def test_reconstruct_goes_on_past_bad_images(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    text = openflextok("reconstruct", folder, "--out", tmp_path / "out", "--steps", 3, "--checkpoint", checkpoint)
    assert "3 of 6 images, 3 skipped" in text and "dB" in text
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_demo_makes_a_grid(checkpoint: Path, tmp_path: Path) -> None:
    openflextok("demo", "--steps", 2, "--out", tmp_path / "grid.png", "--checkpoint", checkpoint)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.height > 4 * 32 and grid.width > 6 * 32  # four photos; original and 1, 2, 4, 8, 16 tokens


def test_info(checkpoint: Path) -> None:
    text = openflextok("info", checkpoint)
    for word in (
        "RegisterViT",
        "FSQ",
        "FlowDecoder",
        "Pixels",
        "64000",
        "licence",
        "data",
        "fingerprint",
        "16 tokens: 32",
    ):
        assert word in text, word


def test_official_weights(tmp_path: Path) -> None:
    """Shown, converted and converted back; the licence is said each time."""
    source = Path(__file__).parents[1] / "data" / "parity" / "case1"
    text = openflextok("info", source)
    assert "research purposes only" in text and "16 tokens: 32" in text
    assert "ours: openflextok checkpoint" in openflextok("convert", source, tmp_path / "ours", "--dtype", "bfloat16")
    assert "research purposes only" in openflextok("info", tmp_path / "ours")
    openflextok("convert", tmp_path / "ours", tmp_path / "back.safetensors", "--to", "official")
    assert oft.load(tmp_path / "back.safetensors").config == oft.load(source).config


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["encode", "nowhere"], "no file or folder nowhere"),
        (["info", "nowhere"], "no checkpoint 'nowhere'"),
        (["demo", "--checkpoint", "."], "has no config.json"),
        (["info", "someone/something"], "no folder 'someone/something' here, and the Hub could not be reached"),
        (["convert", "flextok-mini", "x", "--to", "official"], "absent tokens by a mask token"),
        (["convert", "flextok-mini", "x", "--to", "official", "--dtype", "float16"], "written as they are"),
        (["demo", "--steps", "quick"], "or fast, balanced, best"),
        (["demo", "--guidance", "cgf:3"], "unknown guidance 'cgf:3'"),
        (["demo", "--steps", "0"], "1 <= steps <= 1000"),
        (["decode", "nowhere.safetensors", "--out", "x"], "no token file nowhere.safetensors"),
        (["train", "tyo", "--data", "x", "--out", "y"], "did you mean 'toy'"),
        (["train", "toy", "--data", "nowhere", "--out", "y"], "nowhere: no such folder"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = openflextok(*arguments, code=2)
    assert words in text
    assert len([line for line in text.splitlines() if line.startswith("openflextok:")]) == 1


def test_broken_token_files(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes()[:1000])
    assert "damaged" in openflextok("decode", tmp_path / "cut.safetensors", "--out", tmp_path / "x", code=2)
    assert "not a token file" in openflextok(
        "decode", checkpoint / "model.safetensors", "--out", tmp_path / "x", code=2
    )


def test_no_readable_image_is_an_error(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    text = openflextok(
        "encode", folder / "empty.png", "--out", tmp_path / "t.safetensors", "--checkpoint", checkpoint, code=2
    )
    assert "none of 1 images could be read" in text and not (tmp_path / "t.safetensors").exists()
