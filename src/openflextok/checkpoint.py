"""Checkpoints: a folder with config.json, model.safetensors and README.md; nothing in it can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from openflextok import catalog
from openflextok.config import AutoencoderKLConfig, ConfigError, TokenizerConfig, from_dict, to_dict
from openflextok.files import atomic_folder, write_atomic
from openflextok.spaces.autoencoder_kl import AutoencoderKL
from openflextok.tokenizer import Tokenizer

FORMAT = "openflextok-1"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
VAE_WEIGHTS = "diffusion_pytorch_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, with the reason and the remedy in one line."""


@dataclass(frozen=True)
class About:
    """Where a checkpoint comes from; shown by `openflextok info`."""

    name: str = "unnamed"
    licence: str = "not stated"
    data: str = "not stated"
    training: str = "not stated"


def save(
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    about: About | None = None,
    card: str = "",
    dtype: torch.dtype | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a tokenizer as a folder, whole or not at all.

    dtype: converts the weights (float16 halves the size); weights: used instead of the tokenizer's own.
    """
    about = about or About()
    weights = tokenizer.state_dict() if weights is None else weights
    weights = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in weights.items()}
    data = {"format": FORMAT, "about": to_dict(about), "tokenizer": to_dict(tokenizer.config)}
    with atomic_folder(_replaceable(Path(folder))) as temporary:
        save_file(weights, temporary / WEIGHTS)
        write_atomic(temporary / CONFIG, json.dumps(data, indent=2) + "\n")
        write_atomic(temporary / CARD, card or default_card(about))


def _replaceable(folder: Path) -> Path:
    """A checkpoint takes the place of a checkpoint or of nothing, never of a folder with other files."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} holds other files and would be replaced: give a new or an empty folder")
    return folder


def default_card(about: About) -> str:
    return (
        f"---\nlicense: other\nlibrary_name: openflextok\n---\n# {about.name}\n\n"
        f"- Licence: {about.licence}\n- Data: {about.data}\n- Training: {about.training}\n"
    )


def load(
    name: str | Path | None = None, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tokenizer:
    """A built-in name, a folder, or a Hub id -> a tokenizer in evaluation mode; no name: the embedded default.

    Errors: CheckpointError says what is wrong with the folder and what would help.
    """
    folder = catalog.find(name)
    config, _ = read_config(folder)
    with torch.device("meta"):
        tokenizer = Tokenizer(config)
    _fill(tokenizer, read_weights(folder / WEIGHTS, device), dtype)
    return tokenizer.to(device).eval().requires_grad_(False)


def read_config(folder: Path) -> tuple[TokenizerConfig, About]:
    """The strict reading of a checkpoint's config.json."""
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a tokenizer checkpoint: it has no {CONFIG}{_pickle_hint(folder)}")
    data = _read_json(path)
    if data.get("format") != FORMAT:
        found = data.get("format", data.get("_class_name"))
        raise CheckpointError(f"{path} is not a tokenizer of this library: format {found!r}, expected {FORMAT!r}")
    try:
        return from_dict(TokenizerConfig, data.get("tokenizer"), "tokenizer"), from_dict(About, data.get("about", {}))
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}): copy the checkpoint again") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds a {type(data).__name__}, not an object: copy the checkpoint again")
    return data


def read_weights(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """A safetensors file, memory-mapped; pickles are never read."""
    if path.suffix in PICKLES:
        raise CheckpointError(f"{path} is a pickle, which could run code and is never read: convert it to safetensors")
    if not path.is_file():
        raise CheckpointError(f"{path} is missing{_pickle_hint(path.parent)}")
    try:
        return load_file(path, device=str(device))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or cut off ({error}): copy or download it again") from None


def _pickle_hint(folder: Path) -> str:
    pickles = sorted(p.name for p in folder.glob("*") if p.suffix in PICKLES)
    return f" (pickles such as {pickles[0]} are never read: convert to safetensors)" if pickles else ""


def _fill(module: nn.Module, weights: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Put weights into a module built on the meta device; refuses missing, unknown and misshapen entries by name."""
    expected = module.state_dict()
    problems = {
        "missing": sorted(expected.keys() - weights.keys()),
        "unknown": sorted(weights.keys() - expected.keys()),
        "of another shape": sorted(
            k for k in expected.keys() & weights.keys() if expected[k].shape != weights[k].shape
        ),
    }
    for problem, names in problems.items():
        if names:
            raise CheckpointError(
                f"{len(names)} weights are {problem}: {', '.join(names[:3])}: wrong or damaged checkpoint"
            )
    module.load_state_dict({name: tensor.to(dtype) for name, tensor in weights.items()}, assign=True)


# -- latent spaces ----------------------------------------------------------------------------------------------


def autoencoder_config(folder: Path) -> AutoencoderKLConfig:
    """Read the config.json that diffusers writes for an `AutoencoderKL`."""
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} is not an AutoencoderKL folder: it has no {CONFIG}{_pickle_hint(folder)}")
    data = _read_json(path)
    if data.get("_class_name") != "AutoencoderKL":
        raise CheckpointError(f"{path}: _class_name is {data.get('_class_name')!r}, expected 'AutoencoderKL'")
    fixed = {"in_channels": 3, "out_channels": 3, "act_fn": "silu"}
    for name, value in fixed.items():
        if data.get(name, value) != value:
            raise CheckpointError(f"{path}: {name} is {data[name]!r}; only {value!r} is supported")
    known = AutoencoderKLConfig.__dataclass_fields__
    values = {name: value for name, value in data.items() if name in known and value is not None}
    try:
        return from_dict(AutoencoderKLConfig, values, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def load_autoencoder(source: str | Path, device: torch.device | str = "cpu") -> AutoencoderKL:
    """An `AutoencoderKL` in diffusers' layout, from a folder or a Hub id."""
    folder = catalog.find(source, weights=VAE_WEIGHTS)
    with torch.device("meta"):
        space = AutoencoderKL(autoencoder_config(folder))
    _fill(space, read_weights(folder / VAE_WEIGHTS, device), torch.float32)
    return space.eval().requires_grad_(False)


def save_autoencoder(weights: Mapping[str, Tensor], config: AutoencoderKLConfig, folder: Path, card: str) -> None:
    """Write an autoencoder in diffusers' layout, with the scaling factor of `config`."""
    levels = len(config.block_out_channels)
    data = {k: v for k, v in to_dict(config).items() if k != "type"} | {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "in_channels": 3,
        "out_channels": 3,
        "sample_size": 128,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    with atomic_folder(_replaceable(folder)) as temporary:
        save_file(weights, temporary / VAE_WEIGHTS)
        write_atomic(temporary / CONFIG, json.dumps(data, indent=2) + "\n")
        write_atomic(temporary / CARD, card)
