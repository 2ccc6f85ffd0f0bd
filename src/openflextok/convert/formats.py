"""A checkpoint from one format to another."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from safetensors.torch import save

from openflextok import catalog, checkpoint
from openflextok.config import to_dict
from openflextok.convert import official_flextok
from openflextok.convert.transformers_llama import write_llama
from openflextok.storage import WeightsFile, read_json

logger = logging.getLogger(__name__)

# Kept beside a converted official checkpoint, so that the way back restores it exactly.
ORIGIN, EXTRAS = "official.json", "official.safetensors"
FORMATS = ("openflextok", "official", "transformers")


def convert(source: str | Path, out: str | Path, to: str = "openflextok", dtype: torch.dtype | None = None) -> None:
    """Write the checkpoint `source` (built-in name, folder, file or Hub id) to `out` in the format `to`.

    "openflextok": our folder. "official": a FlexTok Hub folder, or one file where `out` ends in .safetensors.
    "transformers": a generator of labels as a folder of LlamaForCausalLM.
    dtype: of the weights written; their own by default. Nothing is replaced.
    Errors: CheckpointError, ValueError for an unknown format or a name that is taken.
    """
    if to not in FORMATS:
        raise ValueError(f"unknown format {to!r}: give one of {', '.join(FORMATS)}")
    path = catalog.find(source)
    if _taken(Path(out)):
        raise ValueError(f"{out} is there already: give a new name, or remove it first")
    one = _convert_generator if checkpoint.is_generator(path) else _convert_tokenizer
    one(path, Path(out), to, dtype)


def _taken(out: Path) -> bool:
    return any(out.iterdir()) if out.is_dir() else out.exists()


def _convert_tokenizer(path: Path, out: Path, to: str, dtype: torch.dtype | None) -> None:
    if to == "transformers":
        raise ValueError(f"{path} is a tokenizer: only generators have the layout of a transformers model")
    stored = checkpoint.open_checkpoint(path)
    entries, extras = official_flextok.recognise(path), {}
    if entries is not None:
        extras = official_flextok.extras(path)
    elif (path / ORIGIN).is_file():
        origin = read_json(path / ORIGIN)
        if origin.get("read as") == to_dict(stored.config):
            entries = origin["config"]
        else:
            logger.warning(
                "%s is not what was converted: the official config is written anew from it", path / checkpoint.CONFIG
            )
        kept = WeightsFile(path / EXTRAS) if (path / EXTRAS).is_file() else None
        extras = {name: kept.read(name) for name in kept.shapes} if kept else {}
    if to == "official":
        card = checkpoint.default_card(stored.about)
        official_flextok.write(out, stored.config, stored.weights, entries=entries, extras=extras, card=card)
        return
    origin = {"read as": to_dict(stored.config), "config": entries}
    also = {} if entries is None else {ORIGIN: (json.dumps(origin, indent=2) + "\n").encode()}
    if extras:
        also[EXTRAS] = save(extras)
    weights = {name: stored.weights.read(name, dtype) for name in stored.weights.shapes}
    checkpoint.write(out, stored.config, weights, stored.about, also=also)


def _convert_generator(path: Path, out: Path, to: str, dtype: torch.dtype | None) -> None:
    stored = WeightsFile(path / checkpoint.WEIGHTS)
    config, about = checkpoint.read_generator_config(path)
    if to == "official":
        raise ValueError(f"{path} is a generator: official FlexTok weights are tokenizers; give --to transformers")
    if to == "transformers":
        kept = stored.read("gpt.head.weight").dtype
        generator = checkpoint.load_generator(path, dtype=dtype or kept)
        write_llama(generator, out, checkpoint.default_card(about))
        return
    weights = {name: stored.read(name, dtype) for name in stored.shapes}
    checkpoint.write(out, config, weights, about)
