"""Official FlexTok checkpoints (EPFL-VILAB/flextok_*): read, and written; only this room knows their names.

    Hub folder:   config.json + model.safetensors        one file:   x.safetensors, its config as text in the header

An autoencoder of another shape than the released one is described by a vae_config.json (diffusers' form) beside it.
Facts from the released inference code and model cards; none of that code is here.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from openflextok.config import AutoencoderKLConfig, ConfigError, TokenizerConfig
from openflextok.convert.diffusers_vae import describe_autoencoder
from openflextok.convert.official_flextok.config import official_decoder, read_config, write_config
from openflextok.convert.official_flextok.weights import EXTRAS, OfficialWeights, official_tensors
from openflextok.files import atomic_file, atomic_folder, write_atomic
from openflextok.storage import CheckpointError, Weights, WeightsFile, read_json, replaceable

CONFIG, WEIGHTS, VAE_CONFIG, CARD = "config.json", "model.safetensors", "vae_config.json", "README.md"
MOST_VALUES = 100_000  # in one entry of a header
LICENCE = "Apple Machine Learning Research Model License: for research purposes only"
ABOUT = {
    "licence": LICENCE,
    "data": "see the model card of the release (ImageNet-1k or DFN)",
    "training": "released by EPFL and Apple (arXiv 2502.13967)",
}


def recognise(path: Path) -> dict[str, Any] | None:
    """The config of an official checkpoint (folder or file) as plain data, or None where it is something else."""
    if path.is_dir() and (path / CONFIG).is_file():
        entries = read_json(path / CONFIG)
    else:
        file = weights_file(path)
        if not file.is_file():
            return None
        metadata = WeightsFile(file).metadata
        entries = parse_header(metadata, file) if _is_official(metadata) else {}
    return entries if _is_official(entries) else None


def _is_official(entries: Mapping[str, Any]) -> bool:
    return {"encoder", "decoder"} <= entries.keys() and bool({"vae", "regularizer"} & entries.keys())


def weights_file(path: Path) -> Path:
    return path / WEIGHTS if path.is_dir() else path


def parse_header(metadata: Mapping[str, str], file: Path) -> dict[str, Any]:
    """Each entry of a safetensors header is the text of a Python value or of YAML; neither is ever run."""
    texts = {name: text for name, text in metadata.items() if (name, text) != ("format", "pt")}  # which tools add
    return {name: _literal(text, f"{file}: header entry {name!r}") for name, text in texts.items()}


def _literal(text: str, where: str) -> Any:
    import yaml

    try:
        return _lists(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    try:
        return _none(yaml.safe_load(text), count())
    except (yaml.YAMLError, OverflowError, RecursionError):
        raise CheckpointError(f"{where} is neither a Python value nor YAML: copy or download the file again") from None


def _lists(value: Any) -> Any:
    """As JSON has them: no tuples."""
    if isinstance(value, dict):
        return {name: _lists(item) for name, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _none(value: Any, values: Iterator[int]) -> Any:
    """YAML spells it null; a text that Python wrote says None. Aliases that unfold to more than a config holds are refused."""
    if next(values) > MOST_VALUES:
        raise OverflowError
    if isinstance(value, dict):
        return {name: _none(item, values) for name, item in value.items()}
    if isinstance(value, list):
        return [_none(item, values) for item in value]
    return None if value == "None" else value


def read(path: Path, entries: dict[str, Any]) -> tuple[TokenizerConfig, OfficialWeights]:
    """The configuration and the weights, under our names, of what `recognise` found."""
    file = WeightsFile(weights_file(path))
    try:
        config = read_config(entries, file.shapes, file.path.parent / VAE_CONFIG)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except KeyError as error:
        raise CheckpointError(f"{path}: the config lacks the entry {error}: get the whole config again") from None
    except (TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: an entry of the config has another type ({error}): get it again") from None
    return config, OfficialWeights(file, config)


def extras(path: Path) -> dict[str, Tensor]:
    """What an official file holds beyond the tokenizer: alignment heads and the like, for training alone."""
    file = WeightsFile(weights_file(path))
    return {name: file.read(name) for name in file.shapes if EXTRAS.fullmatch(name)}


def write(
    out: Path,
    config: TokenizerConfig,
    weights: Weights,
    *,
    entries: dict[str, Any] | None = None,
    extras: Mapping[str, Tensor] | None = None,
    card: str = "",
) -> None:
    """A tokenizer as a Hub folder, or as one file where `out` ends in .safetensors; whole or not at all.

    entries, extras: of the official checkpoint that it came from, if it did. Errors: CheckpointError for a tokenizer
    that their code could not run.
    """
    try:
        entries = entries or write_config(config)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    tensors = {**dict(official_tensors(weights, official_decoder(config).zero_null)), **(extras or {})}
    assert isinstance(config.space, AutoencoderKLConfig)
    description = description_of(config.space, entries)
    if out.suffix == ".safetensors":
        beside = out.parent / VAE_CONFIG
        if beside.exists() and beside.read_text() != description:
            raise CheckpointError(f"{beside} describes another autoencoder: give {out.name} a folder of its own")
        if description:
            write_atomic(beside, description)
        header = {"_target_": "flextok.flextok_wrapper.FlexTok"} | entries
        with atomic_file(out) as temporary:
            save_file(tensors, temporary, metadata={name: str(value) for name, value in header.items()})
        return
    with atomic_folder(replaceable(out)) as folder:
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        write_atomic(
            folder / CONFIG, json.dumps({k: v for k, v in entries.items() if k != "_target_"}, indent=2) + "\n"
        )
        write_atomic(folder / CARD, card)
        if description:
            write_atomic(folder / VAE_CONFIG, description)


def description_of(space: AutoencoderKLConfig, entries: Mapping[str, Any]) -> str:
    """A vae_config.json; empty for the released shape, where the entries say its scaling factor."""
    released = AutoencoderKLConfig(latent_channels=space.latent_channels, scaling_factor=space.scaling_factor)
    if space == released and entries["vae"].get("scaling_factor") is not None:
        return ""
    return json.dumps(describe_autoencoder(space), indent=2) + "\n"
