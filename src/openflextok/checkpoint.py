"""Checkpoints: a folder with config.json, model.safetensors and README.md; nothing in it can run code."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from openflextok import catalog, tokenfile
from openflextok.config import ConfigError, GeneratorConfig, TokenizerConfig, from_dict, to_dict, type_name
from openflextok.convert import official_flextok
from openflextok.files import atomic_folder, write_atomic
from openflextok.generators.generator import Generator
from openflextok.storage import CheckpointError, Weights, WeightsFile, fill, pickle_hint, read_json, replaceable
from openflextok.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

FORMAT = "openflextok-1"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
TRAINED = "model"  # within the folder of a training


@dataclass(frozen=True)
class About:
    """Where a checkpoint comes from; shown by `openflextok info`."""

    name: str = "unnamed"
    licence: str = "not stated"
    data: str = "not stated"
    training: str = "not stated"


def save(
    model: Tokenizer | Generator,
    folder: str | Path,
    *,
    about: About | None = None,
    card: str = "",
    dtype: torch.dtype | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a tokenizer or a generator as a folder, whole or not at all.

    dtype: converts the weights (float16 halves the size); weights: used instead of the model's own.
    """
    weights = model.state_dict() if weights is None else weights
    weights = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in weights.items()}
    write(folder, model.config, weights, about or About(), card)


def write(
    folder: str | Path,
    config: TokenizerConfig | GeneratorConfig,
    weights: Mapping[str, Tensor],
    about: About,
    card: str = "",
    also: Mapping[str, bytes] | None = None,
) -> None:
    """A checkpoint from its parts, whole or not at all; `also`: further files by name."""
    data = {"format": FORMAT, "about": to_dict(about), _section(config): to_dict(config)}
    with atomic_folder(replaceable(Path(folder))) as temporary:
        save_file(dict(weights), temporary / WEIGHTS)
        write_atomic(temporary / CONFIG, json.dumps(data, indent=2) + "\n")
        write_atomic(temporary / CARD, card or default_card(about))
        for name, content in (also or {}).items():
            write_atomic(temporary / name, content)


def default_card(about: About) -> str:
    return (
        f"---\nlicense: other\nlibrary_name: openflextok\n---\n# {about.name}\n\n"
        f"- Licence: {about.licence}\n- Data: {about.data}\n- Training: {about.training}\n"
    )


@dataclass(frozen=True)
class Stored:
    """A checkpoint as it lies on disk, of our format or an official FlexTok: nothing is loaded yet."""

    config: TokenizerConfig
    about: About
    weights: Weights


def load(
    name: str | Path | None = None, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tokenizer:
    """A built-in name, a folder, an official FlexTok (folder or file), or a Hub id -> a tokenizer, ready to use.

    No name: the embedded default. Weights are mapped into memory, and copied only where dtype, device or joining ask for it.
    Errors: CheckpointError says what is wrong with the folder and what would help; ValueError for an impossible device or dtype.
    """
    _check_place(device, dtype)
    stored = open_checkpoint(catalog.find(name), None if name is None else str(name))
    if stored.about.licence == official_flextok.LICENCE:
        _say_once(f"FlexTok weights: {official_flextok.LICENCE}")
    with torch.device("meta"):
        tokenizer = Tokenizer(stored.config)
    fill(tokenizer, stored.weights, dtype, device)
    return tokenizer.eval().requires_grad_(False)


def _check_place(device: torch.device | str, dtype: torch.dtype) -> None:
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype {dtype!r} is not one of weights: give torch.float32, torch.bfloat16 or torch.float16")
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device {str(device)!r} cannot be used here ({reason}): give 'cpu', or check it") from None


@cache
def _say_once(message: str) -> None:
    logger.warning(message)


def open_checkpoint(path: Path, name: str | None = None) -> Stored:
    """What a folder or file holds; CheckpointError if it is neither our format nor an official FlexTok."""
    official = official_flextok.recognise(path)
    if official is not None:
        config, weights = official_flextok.read(path, official)
        return Stored(
            config, About(name or path.resolve().name.removesuffix(".safetensors"), **official_flextok.ABOUT), weights
        )
    if not path.is_dir():
        if WeightsFile(path).metadata.get("format") == tokenfile.FORMAT:
            raise CheckpointError(f"{path} is a file of tokens, not a checkpoint: `openflextok decode` reads it")
        raise CheckpointError(f"{path} has no FlexTok config in its header: give the folder that holds {CONFIG}")
    config, about = read_config(path)
    return Stored(config, about, WeightsFile(path / WEIGHTS))


def load_generator(
    name: str | Path | None = None, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Generator:
    """A built-in name, a folder or a Hub id -> a generator, ready to use; no name: the embedded default.

    Errors: CheckpointError says what is wrong with the folder and what would help; ValueError for an impossible device or dtype.
    """
    _check_place(device, dtype)
    path = catalog.find(catalog.DEFAULT_GENERATOR if name is None else name)
    config, _ = read_generator_config(path)
    with torch.device("meta"):
        generator = Generator(config)
    fill(generator, WeightsFile(path / WEIGHTS), dtype, device)
    return generator.eval().requires_grad_(False)


def read_config(folder: Path) -> tuple[TokenizerConfig, About]:
    """The strict reading of a tokenizer's config.json."""
    return _read(folder, TokenizerConfig)


def read_generator_config(folder: Path) -> tuple[GeneratorConfig, About]:
    """The strict reading of a generator's config.json."""
    return _read(folder, GeneratorConfig)


def is_generator(folder: Path) -> bool:
    """Whether a folder holds a generator of ours."""
    return (folder / CONFIG).is_file() and "generator" in read_json(folder / CONFIG)


Config = TypeVar("Config", TokenizerConfig, GeneratorConfig)


def _section(config: TokenizerConfig | GeneratorConfig) -> str:
    return type_name(type(config)).lower()


def _read(folder: Path, kind: type[Config]) -> tuple[Config, About]:
    path, wanted = folder / CONFIG, type_name(kind).lower()
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a {wanted} checkpoint: it has no {CONFIG}{_what_it_is(folder, kind)}")
    data = read_json(path)
    if data.get("format") != FORMAT:
        found = data.get("format", data.get("_class_name"))
        official = "" if kind is GeneratorConfig else "; nor has it the parts of an official FlexTok"
        raise CheckpointError(
            f"{path} is not a {wanted} of this library: format {found!r}, expected {FORMAT!r}{official}"
        )
    other = {"tokenizer": "generator", "generator": "tokenizer"}[wanted]
    if wanted not in data and other in data:
        raise CheckpointError(f"{folder} is a {other}, not a {wanted}: {HOW_TO[other]}")
    try:
        return from_dict(kind, data.get(wanted), wanted), from_dict(About, data.get("about", {}))
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _what_it_is(folder: Path, wanted: type) -> str:
    """Of a folder without a config: what it seems to be, and what to give instead."""
    if (folder / TRAINED / CONFIG).is_file():
        return f"; it is the folder of a training: give {folder / TRAINED}"
    if (folder / "job.json").is_file():
        return "; it is a set of tokens, whose job.json names the tokenizer"
    files = sorted(folder.glob("*.safetensors"))
    if files and wanted is TokenizerConfig:
        return f"; an official file with its config in its header is given by its own name: {files[0]}"
    return pickle_hint(folder) or f"; a checkpoint is a folder with {CONFIG} and {WEIGHTS}"


HOW_TO = {
    "tokenizer": "load it with oft.load, or name it where a tokenizer is asked for",
    "generator": "load it with oft.load_generator, or use `openflextok generate`",
}
