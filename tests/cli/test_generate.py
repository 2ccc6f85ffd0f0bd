"""`openflextok generate` as a user meets it, with the embedded generator and with wrong inputs."""

import contextlib
import dataclasses
import io
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import openflextok as oft
from openflextok.cli.main import main
from openflextok.fetch import cache_folder
from openflextok.generators.generator import Generator

FAST = ("--steps", 2)


def openflextok(*arguments: object, code: int = 0) -> str:
    """Run the command in this process; returns stdout and stderr together."""
    printed, found = io.StringIO(), 0
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["openflextok", *map(str, arguments)])
        patch.setenv("COLUMNS", "200")
        try:
            main()
        except SystemExit as end:
            found = end.code or 0
    text = printed.getvalue()
    assert found == code, text
    assert "Traceback" not in text
    return text


@pytest.fixture(scope="module")
def generator() -> Generator:
    return oft.load_generator()


def test_rows_of_labels(tmp_path: Path, generator: Generator) -> None:
    """Each picture is the decoded sample of its own label and seed."""
    out = tmp_path / "made.png"
    text = openflextok("generate", "--label", "Banana", "--label", 3, "-n", 2, "--length", 2, *FAST, "-o", out)
    assert "4 images of 2 tokens" in text
    labels = ["Banana", "Banana", 3, 3]
    ids = generator.sample(labels, length=2, seed=0)
    tokenizer = oft.load(generator.config.tokenizer)
    expected = oft.to_pil(tokenizer.decode(ids, steps=2, seed=[0, 1, 2, 3]))
    with Image.open(out) as made:
        assert made.width == 4 + 2 * (128 + 4)
        header = (made.height - 4) // 2 - 128 - 4
        for i, picture in enumerate(expected):
            left, top = 4 + (i % 2) * 132, (i // 2) * (header + 132) + header + 4
            found = made.convert("RGB").crop((left, top, left + 128, top + 128))
            assert max(abs(a - b) for a, b in zip(found.tobytes(), picture.tobytes(), strict=True)) <= 1


def test_preview_has_a_column_per_length(tmp_path: Path) -> None:
    out = tmp_path / "preview.png"
    openflextok("generate", "--label", "Lime", "-n", 1, "--length", 4, "--preview", *FAST, "-o", out)
    with Image.open(out) as made:
        assert made.width == 4 + (96 + 4) + 3 * (128 + 4)  # the label, then 1, 2 and 4 tokens


def test_info_says_what_the_generator_is() -> None:
    text = openflextok("info", "gpt-mini-labels")
    for words in ("Royal-Gala", "flextok-mini", "GPT, 6 blocks of width 256", "labels, guidance"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "Bananna"), "unknown label 'Bananna'; did you mean 'Banana'?"),
        (("--label", "81"), "label 81 is not a class: give a name, or a number with 0 <= label < 81"),
        (("--label", "Lime", "--length", 0), "cannot make 0 tokens: this generator has 64"),
        (("--label", "Lime", "--length", 65), "cannot make 65 tokens: this generator has 64"),
        (("--label", "Lime", "--caption", "a lime"), "labels and captions do not go together"),
        (("--caption", "a lime", "--generator", "gpt-mini-labels"), "this generator takes labels, not captions"),
        (("--label", "Lime", "-n", 0), "cannot make 0 images in one picture: give 1 to 256"),
        (("--label", "Lime", "-n", 257), "cannot make 257 images in one picture"),
        (("--label", "Lime", "--guidance", "a lot"), "guidance 'a lot' is not understood: give default, a number, or FIRST:LAST"),
        (("--label", "Lime", "--guidance", "nan"), "guidance nan cannot be used"),
        (("--label", "Lime", "--top-p", 2), "top_p 2.0 cannot be used"),
        (("--label", "Lime", "--steps", "quick", "--length", 1), "quick"),
        (("--label", "Lime", "--generator", "flextok-mini"), "is a tokenizer, not a generator: load it with oft.load"),
        (("--label", "Lime", "--generator", "nowhere"), "no checkpoint 'nowhere'"),
    ],
)  # fmt: skip
def test_wrong_input(arguments: tuple, message: str, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    text = openflextok("generate", *arguments, "-o", out, code=2)
    assert message in " ".join(text.split())
    assert not out.exists()


def test_another_tokenizer_is_refused(tmp_path: Path, generator: Generator) -> None:
    """Under the same name, with other weights: both fingerprints are named."""
    other = Generator(dataclasses.replace(generator.config, fingerprint="0123456789abcdef"))
    other.load_state_dict(generator.state_dict())
    oft.save(other, tmp_path / "other")
    text = openflextok(
        "generate", "--generator", tmp_path / "other", "--label", "Lime", "-o", tmp_path / "x.png", code=2
    )
    assert "0123456789abcdef" in text and oft.load("flextok-mini").fingerprint() in text


@pytest.mark.skipif(
    not (cache_folder() / "networks" / "minilm").is_dir(),
    reason="needs MiniLM in the cache: run `openflextok generate --caption 'a bus'` once",
)
def test_captions(tmp_path: Path) -> None:
    """The embedded generator of captions: the words change the tokens, and the seed too."""
    out = tmp_path / "made.png"
    text = openflextok(
        "generate", "--caption", "a red apple", "--caption", "bird", "-n", 1, "--length", 2, *FAST, "-o", out
    )
    assert "2 images of 2 tokens" in text and out.is_file()
    made = oft.load_generator("gpt-mini-captions")
    ids = made.sample(captions=["a red apple", "bird", "a red apple"], seed=[0, 0, 1])
    assert not torch.equal(ids[0], ids[1]) and not torch.equal(ids[0], ids[2])
    long = openflextok("generate", "--caption", "red " * 2500, "-o", out, code=2)
    assert "has 2502 text tokens: this generator reads 24; shorten it" in " ".join(long.split())
    assert "a caption is empty" in openflextok("generate", "--caption", "", "-o", out, code=2)
