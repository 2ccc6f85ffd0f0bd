"""Autoencoders in the layout of diffusers' `AutoencoderKL`: config.json and diffusion_pytorch_model.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from openflextok import catalog
from openflextok.config import AutoencoderKLConfig, ConfigError, from_dict, to_dict
from openflextok.files import atomic_folder, write_atomic
from openflextok.spaces.autoencoder_kl import AutoencoderKL
from openflextok.storage import CheckpointError, WeightsFile, fill, pickle_hint, read_json, replaceable

DEFAULTS = {  # of diffusers' class, for what its config.json leaves out
    "latent_channels": 4,
    "block_out_channels": [64],
    "layers_per_block": 1,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
}
CONFIG, WEIGHTS, CARD = "config.json", "diffusion_pytorch_model.safetensors", "README.md"


def autoencoder_config(path: Path) -> AutoencoderKLConfig:
    """Read a file that diffusers writes as config.json of an `AutoencoderKL`."""
    if not path.is_file():
        folder = path.parent
        raise CheckpointError(f"{folder} is not an AutoencoderKL folder: it has no {path.name}{pickle_hint(folder)}")
    data = read_json(path)
    if data.get("_class_name") != "AutoencoderKL":
        raise CheckpointError(f"{path}: _class_name is {data.get('_class_name')!r}, expected 'AutoencoderKL'")
    fixed = {"in_channels": 3, "out_channels": 3, "act_fn": "silu"}
    for name, value in fixed.items():
        if data.get(name, value) != value:
            raise CheckpointError(f"{path}: {name} is {data[name]!r}; only {value!r} is supported")
    known = AutoencoderKLConfig.__dataclass_fields__
    values = DEFAULTS | {name: value for name, value in data.items() if name in known and value is not None}
    try:
        return from_dict(AutoencoderKLConfig, values)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def describe_autoencoder(config: AutoencoderKLConfig) -> dict[str, Any]:
    """The config.json from which diffusers builds this `AutoencoderKL`."""
    levels = len(config.block_out_channels)
    return {k: v for k, v in to_dict(config).items() if k != "type"} | {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "in_channels": 3,
        "out_channels": 3,
        "sample_size": 128,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }


def load_autoencoder(source: str | Path, device: torch.device | str = "cpu") -> AutoencoderKL:
    """An `AutoencoderKL` in diffusers' layout, from a folder or a Hub id."""
    folder = catalog.find(source, weights=WEIGHTS)
    with torch.device("meta"):
        space = AutoencoderKL(autoencoder_config(folder / CONFIG))
    fill(space, WeightsFile(folder / WEIGHTS), torch.float32, device)
    return space.eval().requires_grad_(False)


def save_autoencoder(weights: Mapping[str, Tensor], config: AutoencoderKLConfig, folder: Path, card: str) -> None:
    """Write an autoencoder in diffusers' layout, with the scaling factor of `config`."""
    data = describe_autoencoder(config)
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    with atomic_folder(replaceable(folder)) as temporary:
        save_file(weights, temporary / WEIGHTS)
        write_atomic(temporary / CONFIG, json.dumps(data, indent=2) + "\n")
        write_atomic(temporary / CARD, card)
