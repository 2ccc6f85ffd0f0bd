"""Where commands write: refused before the work begins where something else would be lost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def check_file(out: Path, suffix: str, inputs: Iterable[Path] = ()) -> None:
    """ValueError where `out` is a folder, one of the inputs, or has a name for something else than what is written."""
    if out.is_dir():
        raise ValueError(f"{out} is a folder: give the name of a file in it, as {out / f'result{suffix}'}")
    _check_inputs([out], inputs)
    if out.suffix.lower() != suffix:
        raise ValueError(f"{out} does not end in {suffix}, which would be written: give a name such as result{suffix}")


def check_folder(out: Path, names: Iterable[str] = (), inputs: Iterable[Path] = ()) -> None:
    """ValueError where `out` is a file, or a file written to it by one of these names would replace an input."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give a folder, or a name that is free")
    _check_inputs([out / name for name in names], inputs)


def save_png(picture: Image.Image, path: Path) -> None:
    """Written whole or not at all."""
    from openflextok.files import atomic_file

    with atomic_file(path) as temporary:
        picture.save(temporary, format="PNG")


def _check_inputs(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    read = {path.resolve() for path in inputs}
    for target in targets:
        if target.resolve() in read:
            raise ValueError(f"{target} is read by this command and would be replaced: give another --out")
