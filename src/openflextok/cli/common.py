"""What several sub-commands share: finding images, reading them past the bad ones, naming outputs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from PIL import Image

    from openflextok.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

TokenizerOption = Annotated[str | None, Parameter(name=("--tokenizer", "--checkpoint"))]


def device() -> str:
    """The GPU of this process, or the CPU."""
    import os

    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Files as given, folders as all image files below them; ValueError for what does not exist or holds none."""
    from openflextok.data.base import IMAGE_SUFFIXES

    if not paths:
        raise ValueError("no images given: name files or folders")
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"no file or folder {path}")
        inside = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not inside:
            raise ValueError(f"no images in {path}: it has no files ending in {', '.join(sorted(IMAGE_SUFFIXES))}")
        found += inside
    return found


class Reader:
    """Reads images in batches; unreadable ones are reported, kept in `failed`, and do not stop the rest."""

    def __init__(self, files: Sequence[Path], size: tuple[int, int], batch: int) -> None:
        if batch < 1:
            raise ValueError(f"batch size {batch} is impossible: give 1 or more images at a time")
        self.files, self.size, self.batch = files, size, batch
        self.failed: list[str] = []

    def __iter__(self) -> Iterator[tuple[list[Path], list[Image.Image]]]:
        """(files, pictures cropped to the size), a batch at a time."""
        from openflextok.pixels import ImageError, center_crop, read_image

        names: list[Path] = []
        pictures: list[Image.Image] = []
        for file in self.files:
            try:
                pictures.append(center_crop(read_image(file), self.size))
                names.append(file)
            except ImageError as error:
                self.failed.append(str(error))
                print(f"skipped: {error}", file=sys.stderr)
            if len(pictures) == self.batch:
                yield names, pictures
                names, pictures = [], []
        if pictures:
            yield names, pictures

    def summary(self) -> str:
        """How many were done and how many skipped; ValueError when none could be read."""
        done = len(self.files) - len(self.failed)
        if not done:
            raise ValueError(f"none of {len(self.files)} images could be read; the first: {self.failed[0]}")
        return f"{done} of {len(self.files)} images" + (f", {len(self.failed)} skipped" if self.failed else "")


def parse_guidance_option(text: str) -> float | str | None:
    """'default', 'none', a number, or 'cfg:3'."""
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def parse_steps_option(text: str) -> int | str:
    """A number, or the name of a preset, which the solver checks."""
    return int(text) if text.isdecimal() else text


def decode_options(tokenizer: Tokenizer, *, steps: str | None, guidance: str | None = None) -> dict[str, Any]:
    """Options of the decoder as a command says them; what was not said (None) is left to the decoder."""
    options: dict[str, Any] = {} if steps is None else {"steps": parse_steps_option(steps)}
    if guidance is not None:
        options["guidance"] = parse_guidance_option(guidance)
    unknown = sorted(options.keys() - set(tokenizer.decoder.options))
    if unknown:
        kind = type(tokenizer.decoder).__name__
        raise ValueError(f"the {kind} of this tokenizer has no {' and no '.join(unknown)}: leave --{unknown[0]} out")
    return options


def output_names(names: Sequence[str]) -> list[str]:
    """One PNG file name per image, distinct even where images in different folders share a name."""
    taken: set[str] = set()
    result: list[str] = []
    for name in names:
        stem, number = Path(name).stem, 2
        chosen = stem
        while chosen in taken:
            chosen, number = f"{stem}-{number}", number + 1
        taken.add(chosen)
        result.append(f"{chosen}.png")
    return result


def label_of(tokenizer: Tokenizer, length: int) -> str:
    """'8 tokens', and '16 bytes' below it."""
    size, plural = tokenizer.bytes_per_image(length), "" if length == 1 else "s"
    return f"{length} token{plural}" + ("" if size is None else f"\n{size} bytes")
