"""Which module reads what another wrote: their entries that end in _key or _keys, followed in the order of a run.

Keys may have any names; each module has to find what it finds in a released config.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from openflextok.config import ConfigError

# Wires that may be there or not; the others as in a released config.
OPTIONAL = {
    "eval_keep_k_read_key", "train_keep_k_write_key", "eval_drop_flag_read_key", "noise_write_key", "noise_read_key",
    "vae_kl_loss_write_key", "intermediate_layer_write_key", "target_sizes_read_key", "n_patches_write_key",
}  # fmt: skip


def wires_of(module: Mapping[str, Any]) -> set[str]:
    """The entries of a module that name what it reads or writes and cannot be left out."""
    return {name for name in module if re.search(r"_keys?$", name)} - OPTIONAL


def check_wiring(entries: Mapping[str, Any], released: Mapping[str, Any]) -> None:
    """Every module of `entries` reads from the modules that it reads from in `released`; ConfigError names one that does not."""
    expected = _sources(released, released)
    for wire, found in _sources(entries, released).items():
        keys, writers, wanted = list(found), list(found.values()), list(expected[wire].values())
        if writers != wanted:
            raise ConfigError(
                f"{wire} reads {', '.join(map(repr, keys))} of {', '.join(writers)}: "
                f"only that of {', '.join(wanted)} can be honoured"
            )


def _sources(entries: Mapping[str, Any], released: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """'module.wire' of all that is read -> the keys, and what wrote them last."""
    writers: dict[str, str] = {}
    sources: dict[str, dict[str, str]] = {}
    for label, module, reads, writes in _run(entries, released):
        for wire in reads:
            sources[f"{label}.{wire}"] = {key: writers.get(key, "no module") for key in _places(module, wire)}
        for wire in writes:
            writers |= {key: f"{label}.{place}" for key, place in _places(module, wire).items()}
    return sources


def _places(module: Mapping[str, Any], wire: str) -> dict[str, str]:
    """The keys of a wire -> the wire's name, with a number where there are several."""
    keys = module.get(wire)
    if isinstance(keys, list):
        return {key: f"{wire}[{i}]" for i, key in enumerate(keys)}
    return {} if keys is None else {keys: wire}


Turn = tuple[str, Mapping[str, Any], list[str], list[str]]


def _run(entries: Mapping[str, Any], released: Mapping[str, Any]) -> Iterator[Turn]:
    """Images to latents to tokens and back: each module in its turn, what it reads then, and what it writes."""
    vae, pipeline = entries["vae"], entries["pipeline"]
    yield "vae", vae, [], ["vae_latents_write_key"]
    yield from _turns("encoder", entries, released)
    yield "regularizer", entries["regularizer"], ["latents_read_key"], ["quants_write_key"]
    yield "pipeline", pipeline, ["latents_read_key"], ["noised_images_read_key", "timesteps_read_key"]
    yield from _turns("decoder", entries, released)
    yield "pipeline", pipeline, ["reconst_write_key"], []
    yield "vae", vae, ["vae_latents_read_key"], []


def _turns(part: str, entries: Mapping[str, Any], released: Mapping[str, Any]) -> Iterator[Turn]:
    known, modules = released[part]["module_dict"], entries[part]["module_dict"]
    lost = list(modules) == sorted(modules)  # a file with sorted names has lost the order
    for name in known if lost else modules:
        if name in known and name in modules and "repa" not in name:  # alignment is for training alone
            wires = sorted(wires_of(known[name]))
            reads, writes = ([wire for wire in wires if kind in wire] for kind in ("read", "write"))
            yield f"{part}.{name}", modules[name], reads, writes
