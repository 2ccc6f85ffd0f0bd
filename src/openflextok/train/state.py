"""The resume folder: everything that the next step depends on, as safetensors and JSON.

A run's folder:   OUT/checkpoints/step-00000500/resume/   weights, averages, optimizer moments, counters
                  OUT/checkpoints/step-00000500/model/    the inference folder (averaged weights)
                  OUT/model -> the newest of the latter
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from openflextok.files import write_atomic
from openflextok.storage import CheckpointError, WeightsFile
from openflextok.train.optim import EMA
from openflextok.train.parallel import fill, whole

RECIPE, STATE, COUNTERS = "recipe.json", "state.safetensors", "counters.json"
FREE = {  # settings that may change between two starts of one run
    "data": {"heldout", "workers", "cache"},
    "train": {
        "steps", "micro_batch_size", "parallel", "gradient_checkpointing", "compile", "log_every", "save_every", "keep",
        "preview_every", "preview_images", "nonfinite_patience",
    },
}  # fmt: skip
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class Counters:
    """What a run counts."""

    step: int = 0
    """Steps done; also the position in the data order, which depends on nothing else."""
    skipped: int = 0
    """Steps skipped because a loss or gradient was not finite."""
    skipped_in_a_row: int = 0
    corrupt: int = 0
    """Unreadable images met."""


@dataclass(frozen=True)
class Trained:
    """What one phase trains: its module (as its wrapper holds it), optimizer and averages."""

    name: str
    module: nn.Module
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    ema: EMA

    def tensors(self, keep: bool) -> dict[str, Tensor]:
        """Every tensor of the phase's state by name, sharded ones made whole; nothing is kept where not asked for."""
        state: dict[str, Tensor] = {}

        def add(name: str, tensor: Tensor) -> None:
            value = whole(tensor)  # collective where sharded: every process takes part
            if keep:
                state[f"{self.name}/{name}"] = value

        for name, buffer in self.module.named_buffers():
            add(f"buffers/{name}", buffer)
        for name, parameter in self.module.named_parameters():
            if not parameter.requires_grad:
                continue
            add(f"weights/{name}", parameter)
            add(f"ema/{name}", self.ema.weights[name])
            for moment, value in self.optimizer.state.get(parameter, {}).items():
                add(f"{moment}/{name}", value)
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        for name, buffer in self.module.named_buffers():
            fill(buffer, _take(state, f"{self.name}/buffers/{name}"))
        for name, parameter in self.module.named_parameters():
            if not parameter.requires_grad:
                continue
            fill(parameter, _take(state, f"{self.name}/weights/{name}"))
            fill(self.ema.weights[name], _take(state, f"{self.name}/ema/{name}"))
            if f"{self.name}/step/{name}" in state:
                moments = {m: _take(state, f"{self.name}/{m}/{name}") for m in MOMENTS}
                self.optimizer.state[parameter] = {
                    "step": moments["step"].to(parameter.device),
                    **{m: torch.zeros_like(parameter.detach()) for m in MOMENTS[:2]},
                }
                for m in MOMENTS[:2]:
                    fill(self.optimizer.state[parameter][m], moments[m])


def _take(state: dict[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise CheckpointError(f"the resume state has no {name!r}: it is from another recipe; choose another --out")
    return state[name]


def folder_of(out: Path, step: int) -> Path:
    return out / "checkpoints" / f"step-{step:08d}"


def finished_checkpoints(out: Path) -> list[Path]:
    """Checkpoint folders, oldest first; folders that were being written have other names."""
    return sorted((out / "checkpoints").glob("step-*"))


def write_state(folder: Path | None, trained: list[Trained], counters: Counters) -> None:
    """Called by every process (sharded tensors are gathered); the one with a folder writes."""
    state = {name: tensor for phase in trained for name, tensor in phase.tensors(folder is not None).items()}
    if folder is not None:
        folder.mkdir(parents=True)
        save_file(state, folder / STATE)
        write_atomic(folder / COUNTERS, json.dumps(asdict(counters)))


def read_state(folder: Path, trained: list[Trained]) -> Counters:
    stored = WeightsFile(folder / STATE)
    state = {name: stored.read(name) for name in stored.shapes}
    for phase in trained:
        phase.restore(state)
    return Counters(**json.loads((folder / COUNTERS).read_text()))


def publish(out: Path, folder: Path, keep: int) -> None:
    """Point OUT/model at the newest inference folder and drop the oldest checkpoints."""
    link = out / "model"
    temporary = out / f".model.tmp-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to((folder / "model").relative_to(out))
    os.replace(temporary, link)
    for old in finished_checkpoints(out)[:-keep]:
        shutil.rmtree(old)


def write_recipe(out: Path, recipe: dict[str, Any]) -> None:
    write_atomic(out / RECIPE, json.dumps(recipe, indent=2) + "\n")


def check_recipe(out: Path, recipe: dict[str, Any]) -> None:
    """Refuse to go on with a run whose recipe differs in what its results depend on."""
    path = out / RECIPE
    before = json.loads(path.read_text()) if path.is_file() else {}
    changed = _changes(before, json.loads(json.dumps(recipe)), "")
    changed = [c for c in changed if c.split(".")[-1] not in FREE.get(c.split(".")[0], set())]
    if changed:
        raise CheckpointError(
            f"{out} holds a run of another recipe (different: {', '.join(changed[:5])}): give the same command, or "
            "another --out"
        )


def _changes(before: Any, after: Any, path: str) -> list[str]:
    """Paths at which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(before.keys() | after.keys())
        return [c for n in names for c in _changes(before.get(n), after.get(n), f"{path}.{n}" if path else n)]
    return [] if before == after else [path]


def clear_leftovers(out: Path) -> None:
    """Remove checkpoints that a killed process had not finished."""
    for leftover in (out / "checkpoints").glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)
